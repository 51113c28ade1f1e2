"""A small HTTP server that answers as it was told to, for services that have no emulator."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Replies:
    """A small HTTP server that answers each path as it was told to, and remembers what it was asked."""

    url: str = ""
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    authorization: str = ""
    #: For every path that was given no answer.
    status: int = 404

    def put(self, path: str, answer: Any, status: int = 200) -> None:
        self.answers[path] = (status, json.dumps(answer).encode())


@contextmanager
def replying() -> Iterator[Replies]:
    known = Replies()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            known.asked.append(f"{self.command} {self.path}")
            known.authorization = self.headers.get("Authorization", "")
            status, body = known.answers.get(self.path, (known.status, b"{}"))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        server.server_close()
