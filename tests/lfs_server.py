"""An LFS server over HTTP (batch API and `basic` transfer), for the clients' side of the protocol."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class LfsServer:
    """Serves `objects` to everybody, or to the one `login` (`user:password`). Counts downloads."""

    def __init__(self, login: str = "") -> None:
        self.objects: dict[str, bytes] = {}
        self.downloads: list[str] = []
        self.paths: list[str] = []
        self.login = login
        #: Downloads wait for it.
        self.gate = threading.Event()
        self.gate.set()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.http.owner = self  # type: ignore[attr-defined]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}/lfs"

    def add(self, content: bytes) -> str:
        """Store a file. Returns its pointer."""
        oid = hashlib.sha256(content).hexdigest()
        self.objects[oid] = content
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"


@contextmanager
def lfs_server(login: str = "") -> Iterator[LfsServer]:
    server = LfsServer(login)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Disables request logging."""

    def do_POST(self) -> None:
        owner: LfsServer = self.server.owner  # type: ignore[attr-defined]
        owner.paths.append(self.path)
        expected = f"Basic {base64.b64encode(owner.login.encode()).decode()}"
        if owner.login and self.headers.get("Authorization") != expected:
            self._respond(401, b"{}")
            return
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert request["operation"] == "download"
        answers: list[dict[str, Any]] = []
        for entry in request["objects"]:
            oid = entry["oid"]
            if oid in owner.objects:
                action = {"href": f"{owner.url}/{oid}", "header": {"X-Ticket": oid}}
                answers.append({**entry, "actions": {"download": action}})
            else:
                answers.append({**entry, "error": {"code": 404, "message": "not there"}})
        self._respond(200, json.dumps({"transfer": "basic", "objects": answers}).encode())

    def do_GET(self) -> None:
        owner: LfsServer = self.server.owner  # type: ignore[attr-defined]
        oid = Path(self.path).name
        assert self.headers["X-Ticket"] == oid
        owner.downloads.append(oid)
        owner.gate.wait(60)
        self._respond(200, owner.objects[oid])

    def _respond(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
