"""A Git remote over smart HTTP, for one machine: `git http-backend` behind a small threaded server.

The quickstart's demo remote, and the real remote that tests push to and fetch from. It listens on
loopback only. `on_push` is called after every accepted push, in a thread of the server's.
"""

import base64
import hmac
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

OnPush = Callable[[str], None]
LARGEST_BODY = 512 * 1024 * 1024


class GitServer:
    """Serves every bare repository below `root`. Use as a context manager, or `start` and `stop`."""

    def __init__(
        self,
        root: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        users: Mapping[str, str] | None = None,
        on_push: OnPush | None = None,
    ) -> None:
        """`users` maps names to passwords; None lets everybody in. Raises OSError when the port is in use."""
        self.root, self.users, self.on_push = root, users, on_push
        root.mkdir(parents=True, exist_ok=True)
        self._http = _Http((host, port), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, name="git server", daemon=True)

    @property
    def address(self) -> str:
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}"

    def url(self, name: str) -> str:
        return f"{self.address}/{name}.git"

    def create(self, name: str, default_branch: str = "main") -> Path:
        """An empty bare repository, or the one that is there."""
        path = self.root / f"{name}.git"
        if not (path / "HEAD").exists():
            command = ["git", "init", "--quiet", "--bare", f"--initial-branch={default_branch}", str(path)]
            subprocess.run(command, check=True, env=_clean())
        return path

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(timeout=10)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    owner: GitServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no news; anything else is."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:
        """Silent: what matters is told by `on_push`."""

    def _serve(self) -> None:
        owner = self.server.owner
        user = _user(self.headers.get("Authorization", ""), owner.users)
        if user is None:
            self._answer(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"who are you?")
            return
        body = self._body()
        if body is None:
            return
        done = subprocess.run(
            ["git", "-c", "http.receivepack=true", "http-backend"],
            input=body,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._cgi(owner, user, len(body)),
            check=False,
        )
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        status = int(headers.pop("Status", "200").split()[0]) if head else 500
        self._answer(status, headers, answer)
        path = urlsplit(self.path).path
        if status == 200 and path.endswith("/git-receive-pack") and owner.on_push:
            owner.on_push(path.removesuffix("/git-receive-pack").strip("/").removesuffix(".git"))

    def _body(self) -> bytes | None:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            chunks = bytearray()
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks += self.rfile.read(size)
                self.rfile.readline()
                if len(chunks) > LARGEST_BODY:
                    self._answer(413, {}, b"too large")
                    return None
            self.rfile.readline()
            return bytes(chunks)
        length = int(self.headers.get("Content-Length") or 0)
        if length > LARGEST_BODY:
            self._answer(413, {}, b"too large")
            return None
        return self.rfile.read(length)

    def _cgi(self, owner: GitServer, user: str, length: int) -> dict[str, str]:
        url = urlsplit(self.path)
        given = {
            "GIT_PROJECT_ROOT": str(owner.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": url.path,
            "QUERY_STRING": url.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "REMOTE_USER": user,
            "REMOTE_ADDR": str(self.client_address[0]),
        }
        for header, variable in (
            ("Content-Encoding", "HTTP_CONTENT_ENCODING"),
            ("Git-Protocol", "GIT_PROTOCOL"),
        ):
            if header in self.headers:
                given[variable] = self.headers[header]
        return {**_clean(), **given}

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _user(authorization: str, users: Mapping[str, str] | None) -> str | None:
    """Who asks; None when they must say so first."""
    if users is None:
        return "anybody"
    kind, _, value = authorization.partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        return None
    known = users.get(name, "")
    return name if known and hmac.compare_digest(known.encode(), password.encode()) else None


def _clean() -> dict[str, str]:
    """Git's environment without the machine's configuration."""
    return {"PATH": os.environ.get("PATH", ""), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
