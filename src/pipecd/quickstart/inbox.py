"""The inbox of the quickstart: a receiver of notifications, and a page that shows what was sent.

The agent and the control plane send to it as to any webhook, as CloudEvents with a signature. Listens on the
loopback interface only. The newest messages are stored in a file.
"""

import base64
import hashlib
import hmac
import html
import json
import threading
import time
from collections import deque
from collections.abc import Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pipecd.json_input import decode_json

#: Messages that are shown.
MAX_MESSAGES = 200
_MAX_BODY = 256 * 1024
#: Of larger bodies, up to this size is read.
_MAX_READ = 16 * _MAX_BODY
#: How old a signature may be (seconds). Each attempt to send a message is signed again.
_TOLERANCE = 300


class Inbox:
    """Use as a context manager. `key` is a signing key of Standard Webhooks; `console` is the console's URL.

    Raises OSError if the port is in use.
    """

    def __init__(self, file: Path, key: str, *, console: str, port: int = 0) -> None:
        self._file, self._key, self.console = file, base64.b64decode(key.removeprefix("whsec_")), console
        self._messages: deque[Mapping[str, Any]] = deque(_load(file), MAX_MESSAGES)
        self._lock = threading.Lock()
        self._http = _Http(("127.0.0.1", port), _Handler)
        self._http.owner = self
        serve = partial(self._http.serve_forever, 0.05)
        self._thread = threading.Thread(target=serve, name="inbox", daemon=True)

    @property
    def url(self) -> str:
        return f"http://localhost:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(timeout=10)

    def is_signed(self, headers: Mapping[str, str], body: bytes) -> bool:
        """As https://www.standardwebhooks.com specifies."""
        identity, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > _TOLERANCE:
            return False
        digest = hmac.digest(self._key, f"{identity}.{timestamp}.".encode() + body, hashlib.sha256)
        expected = f"v1,{base64.b64encode(digest).decode()}"
        given = headers.get("webhook-signature", "").split(" ")
        return any(hmac.compare_digest(expected.encode(), one.encode()) for one in given)

    def receive(self, event: Mapping[str, Any]) -> None:
        """A repetition, which has the same id, replaces nothing and is not shown again."""
        with self._lock:
            if any(message.get("id") == event.get("id") for message in self._messages):
                return
            self._messages.append(event)
            content = json.dumps(list(self._messages))
            temporary = self._file.with_suffix(".new")
            temporary.write_text(content)
            temporary.replace(self._file)

    def render(self) -> str:
        with self._lock:
            messages = list(self._messages)
        rows = "\n".join(_row(message) for message in reversed(messages))
        return _PAGE.replace("{console}", html.escape(self.console)).replace("{rows}", rows or _EMPTY)


def _load(file: Path) -> list[Mapping[str, Any]]:
    try:
        return [message for message in decode_json(file.read_text()) if isinstance(message, dict)]
    except (OSError, ValueError):
        return []


def _row(message: Mapping[str, Any]) -> str:
    data = message.get("data")
    data = data if isinstance(data, dict) else {}
    severity = data.get("severity")
    tone = severity if severity in ("info", "success", "warning", "error") else "info"
    title, text = html.escape(str(data.get("title", ""))), html.escape(str(data.get("text", "")))
    link = str(data.get("link", ""))
    if link.startswith(("http://", "https://")):
        title = f'<a href="{html.escape(link)}">{title}</a>'
    at, type_ = html.escape(str(message.get("time", ""))), html.escape(str(message.get("type", "")))
    body = f"<p>{text}</p>" if text else ""
    return (
        f'<li class="{tone}"><div><h2>{title}</h2>{body}</div>'
        f'<div class="aside"><time datetime="{at}">{at}</time><code>{type_}</code></div></li>'
    )


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    owner: Inbox

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that disconnect during a request are no errors."""


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    #: Of a connection (seconds).
    timeout = 30

    def log_message(self, format: str, *args: object) -> None:
        """Disables request logging."""

    def do_GET(self) -> None:
        # A site whose name resolves to this machine must not read it.
        if urlsplit(f"//{self.headers.get('Host', '')}").hostname not in ("localhost", "127.0.0.1"):
            self._respond(403, "text/plain", "open http://localhost")
        elif self.path != "/":
            self._respond(404, "text/plain", "there is one page: /")
        else:
            self._respond(200, "text/html; charset=utf-8", self.server.owner.render())

    def do_POST(self) -> None:
        text = self.headers.get("Content-Length", "")
        length = int(text) if text.isdecimal() and len(text) < 10 else _MAX_READ + 1
        # Read, if it is not far too large: a client whose body is not read may not get the answer.
        body = self.rfile.read(length) if length <= _MAX_READ else b""
        if length > _MAX_BODY:
            self._respond(413, "text/plain", "too large")
            return
        if not self.server.owner.is_signed({k.lower(): v for k, v in self.headers.items()}, body):
            self._respond(401, "text/plain", "the signature is missing or wrong")
            return
        try:
            event = decode_json(body)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            self._respond(400, "text/plain", "not a CloudEvent")
            return
        self.server.owner.receive(event)
        self._respond(204, "text/plain", "")

    def _respond(self, status: int, kind: str, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)


_EMPTY = '<li class="info"><div><h2>Nothing was sent yet</h2></div></li>'
_PAGE = (Path(__file__).parent / "inbox.html").read_text()


def _digest(element: str) -> str:
    """Of the page's only element of that name."""
    content = _PAGE.partition(f"<{element}>")[2].partition(f"</{element}>")[0]
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


#: Texts of repositories are shown: no script runs but that of the page.
_POLICY = (
    f"default-src 'none'; script-src {_digest('script')}; style-src {_digest('style')}; connect-src 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
