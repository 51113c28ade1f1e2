"""A Git server over smart HTTP on the local machine: `git http-backend` behind a threaded HTTP server.

Used for the quickstart's demo repository, and by tests. Listens on the loopback interface only. `on_push` is
called after every accepted push, in a thread of the server.
"""

import base64
import hmac
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

OnPush = Callable[[str], None]
#: Of a request, in bytes.
MAX_BODY_SIZE = 512 * 1024 * 1024


class GitServer:
    """Serves all bare repositories below `root`. Use as a context manager, or call `start` and `stop`."""

    def __init__(
        self,
        root: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        users: Mapping[str, str] | None = None,
        on_push: OnPush | None = None,
    ) -> None:
        """`users`: name → password; None disables authentication. Raises OSError if the port is in use."""
        self.root, self.users, self.on_push = root, users, on_push
        root.mkdir(parents=True, exist_ok=True)
        self._http = _Http((host, port), _Handler)
        self._http.owner = self
        # How often it checks whether it should stop (seconds), and so how long `stop` takes.
        serve = partial(self._http.serve_forever, 0.05)
        self._thread = threading.Thread(target=serve, name="git server", daemon=True)

    @property
    def address(self) -> str:
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}"

    def url(self, name: str) -> str:
        return f"{self.address}/{name}.git"

    def create(self, name: str, default_branch: str = "main") -> Path:
        """Create an empty bare repository unless it exists. Returns its path."""
        path = self.root / f"{name}.git"
        if not (path / "HEAD").exists():
            command = ["git", "init", "--quiet", "--bare", f"--initial-branch={default_branch}", str(path)]
            subprocess.run(command, check=True, env=_git_environment())
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
        """Ignore clients that disconnect during a request; report any other error."""
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
        """Disables request logging."""

    def _serve(self) -> None:
        owner = self.server.owner
        user = _authenticate(self.headers.get("Authorization", ""), owner.users)
        if user is None:
            self._respond(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"authentication required")
            return
        body = self._read_body()
        if body is None:
            return
        result = subprocess.run(
            [_http_backend()],
            input=body,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._cgi_environment(owner, user, len(body)),
            check=False,
        )
        head, _, content = result.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        status = int(headers.pop("Status", "200").split()[0]) if head else 500
        self._respond(status, headers, content)
        path = urlsplit(self.path).path
        if status == 200 and path.endswith("/git-receive-pack") and owner.on_push:
            owner.on_push(path.removesuffix("/git-receive-pack").strip("/").removesuffix(".git"))

    def _read_body(self) -> bytes | None:
        """The request's body; None if it is too large and has been answered."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            chunks = bytearray()
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks += self.rfile.read(size)
                self.rfile.readline()
                if len(chunks) > MAX_BODY_SIZE:
                    self._respond(413, {}, b"too large")
                    return None
            self.rfile.readline()
            return bytes(chunks)
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY_SIZE:
            self._respond(413, {}, b"too large")
            return None
        return self.rfile.read(length)

    def _cgi_environment(self, owner: GitServer, user: str, length: int) -> dict[str, str]:
        url = urlsplit(self.path)
        variables = {
            "GIT_PROJECT_ROOT": str(owner.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": url.path,
            "QUERY_STRING": url.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "REMOTE_USER": user,
            "REMOTE_ADDR": str(self.client_address[0]),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.receivepack",
            "GIT_CONFIG_VALUE_0": "true",
        }
        for header, variable in (
            ("Content-Encoding", "HTTP_CONTENT_ENCODING"),
            ("Git-Protocol", "GIT_PROTOCOL"),
        ):
            if header in self.headers:
                variables[variable] = self.headers[header]
        return {**_git_environment(), **variables}

    def _respond(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _authenticate(authorization: str, users: Mapping[str, str] | None) -> str | None:
    """The user's name; None if the credentials are missing or wrong."""
    if users is None:
        return "anonymous"
    kind, _, value = authorization.partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        return None
    expected = users.get(name, "")
    return name if expected and hmac.compare_digest(expected.encode(), password.encode()) else None


@cache
def _http_backend() -> str:
    """The path of the program that `git http-backend` starts."""
    command = ["git", "--exec-path"]
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=_git_environment())
    return f"{found.stdout.strip()}/git-http-backend"


def _git_environment() -> dict[str, str]:
    """Environment variables for Git, without the machine's Git configuration."""
    return {"PATH": os.environ.get("PATH", ""), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
