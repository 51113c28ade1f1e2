"""A minimal Google Cloud Storage server (XML API); there is no maintained emulator for Python."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@contextmanager
def google_storage(bucket: str) -> Iterator[str]:
    """The server's URL. It has one empty bucket."""
    objects: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            objects[self._name()] = self.rfile.read(int(self.headers["Content-Length"]))
            self._respond(200)

        def do_GET(self) -> None:
            name = self._name()
            if not name:
                self._respond(200, self._list_objects())
            elif name in objects:
                self._respond(200, objects[name])
            else:
                self._respond(404)

        def do_DELETE(self) -> None:
            self._respond(204 if objects.pop(self._name(), None) is not None else 404)

        def _name(self) -> str:
            path = unquote(urlsplit(self.path).path)
            assert path.split("/")[1] == bucket, path
            return path.removeprefix(f"/{bucket}").lstrip("/")

        def _list_objects(self) -> bytes:
            prefix = parse_qs(urlsplit(self.path).query).get("prefix", [""])[0]
            contents = "".join(
                f"<Contents><Key>{escape(name)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                f'<ETag>"e"</ETag><Size>{len(data)}</Size></Contents>'
                for name, data in sorted(objects.items())
                if name.startswith(prefix)
            )
            return f"<ListBucketResult><Name>{bucket}</Name>{contents}</ListBucketResult>".encode()

        def _respond(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"e"')
            self.send_header("Last-Modified", formatdate(0, usegmt=True))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
