"""A small HTTP server with fixed responses, for services that have no emulator."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class ReplyServer:
    """An HTTP server with a fixed response per path. Records the requests."""

    url: str = ""
    responses: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    #: Method and path of each request.
    requests: list[str] = field(default_factory=list)
    #: The `Authorization` header of the last request.
    authorization: str = ""
    #: The status for paths without a response.
    status: int = 404

    def set_response(self, path: str, response: Any, status: int = 200) -> None:
        self.responses[path] = (status, json.dumps(response).encode())


@contextmanager
def reply_server() -> Iterator[ReplyServer]:
    replies = ReplyServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            replies.requests.append(f"{self.command} {self.path}")
            replies.authorization = self.headers.get("Authorization", "")
            status, body = replies.responses.get(self.path, (replies.status, b"{}"))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    replies.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield replies
    finally:
        server.shutdown()
        server.server_close()
