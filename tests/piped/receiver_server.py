"""HTTP servers that receive notifications on the loopback interface, and enforce the documented rules."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

TOKEN = "xoxb-token-4711"

#: Status, headers and body of an answer.
Reply = tuple[int, Mapping[str, str], str]


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class ReceiverServer:
    """Answers with the first of `replies`, while there are any, else with what `answer` returns."""

    answer: Callable[[Request], Reply] = lambda _: (204, {}, "")
    replies: list[Reply] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> Self:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.path, headers, body)
                owner.requests.append(request)
                status, extra, text = owner.replies.pop(0) if owner.replies else owner.answer(request)
                self.send_response(status)
                for name, value in {**extra, "Content-Length": str(len(text.encode()))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"


class Slack:
    """`chat.postMessage`, and the channel's messages: a thread has to begin with a message of the channel."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.messages: list[dict[str, Any]] = []

    def __call__(self, request: Request) -> Reply:
        error = self._error(request)
        if error:
            return 200, {"Content-Type": "application/json"}, json.dumps({"ok": False, "error": error})
        timestamp = f"1700000000.{len(self.messages):06d}"
        self.messages.append({**request.json, "ts": timestamp})
        return 200, {"Content-Type": "application/json"}, json.dumps({"ok": True, "ts": timestamp})

    def _error(self, request: Request) -> str:
        if request.path != "/api/chat.postMessage":
            return "unknown_method"
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return "invalid_auth"
        if not request.headers.get("content-type", "").startswith("application/json"):
            return "invalid_post_type"
        if request.json.get("channel") != self.channel:
            return "channel_not_found"
        if not request.json.get("text") and not request.json.get("attachments"):
            return "no_text"
        thread = request.json.get("thread_ts")
        known = {message["ts"] for message in self.messages if "thread_ts" not in message}
        return "thread_not_found" if thread and thread not in known else ""


def verify_standard_webhook(request: Request, secret: str, now: float) -> bool:
    """As a receiver does: identity, time within five minutes, signature (https://www.standardwebhooks.com)."""
    identity, timestamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
    if abs(now - int(timestamp)) > 300 or "." in identity:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{identity}.{timestamp}.".encode() + request.body, hashlib.sha256)
    expected = f"v1,{base64.b64encode(digest).decode()}"
    return expected in request.headers["webhook-signature"].split(" ")
