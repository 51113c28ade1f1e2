"""An HTTPS server that the API server calls: an admission webhook, or the kubelet of a node."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pipecd.quickstart.simulated_cluster.certificates import Authority
from tests.cluster.control_plane import Cluster

#: From the path and the decoded body of a request to the answer: text, an iterator of texts that are sent as
#: they come, or what is sent as JSON.
Answer = Callable[[str, Any], Any]


@contextmanager
def https_server(cluster: Cluster, directory: Path, answer: Answer) -> Iterator[int]:
    """Yields the port, at 127.0.0.1. The certificate is signed by the cluster's authority."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            result = answer(self.path, json.loads(body) if body else None)
            if isinstance(result, Iterator):
                self._stream(result)
                return
            content = result if isinstance(result, str) else json.dumps(result)
            self.send_response(200)
            kind = "text/plain" if isinstance(result, str) else "application/json"
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(content.encode())

        do_GET = do_POST

        def _stream(self, parts: Iterator[str]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            with suppress(OSError):
                for part in parts:
                    self.wfile.write(part.encode())

        def log_message(self, format: str, *arguments: Any) -> None:
            return

    key, certificate = Authority.load(cluster.directory).issue("server", addresses=["127.0.0.1"])
    file = directory / "server.pem"
    file.write_bytes(key + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
