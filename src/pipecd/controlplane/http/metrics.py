"""Counts the requests of the HTTP port, with PipeCD's names."""

from collections.abc import Mapping

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipecd.clock import Clock
from pipecd.controlplane.rpc.method import Method

_LABELS = ("code", "method", "path")
REQUESTS = Counter("http_requests_total", "HTTP requests answered. The path is one of a fixed set.", _LABELS)
MILLISECONDS = Histogram(
    "http_request_duration_milliseconds",
    "How long requests took, without streams.",
    _LABELS,
    buckets=(1, 5, 25, 125, 625, 3125, 15625),
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PATHS = frozenset(
    {
        "/auth/login/static",
        "/auth/login",
        "/auth/provider",
        "/auth/logout",
        "/auth/callback",
        "/quickstart.json",
    }
)
_PREFIXES = ("/assets/", "/hooks/", "/auth/", "/api/")


class CountRequests:
    """Around the whole application. `methods` are those below `/api`, by path."""

    def __init__(self, app: ASGIApp, methods: Mapping[str, Method], clock: Clock) -> None:
        self._app, self._methods, self._clock = app, methods, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Without an answer, the client was the one that ended it.
        code = "499"
        started = self._clock.monotonic()

        async def send_and_note(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception:
            code = "500"
            raise
        finally:
            path, streams = self._path(scope["path"])
            method = scope["method"] if scope["method"] in _METHODS else "other"
            REQUESTS.labels(code, method, path).inc()
            if not streams:
                milliseconds = (self._clock.monotonic() - started) * 1000
                MILLISECONDS.labels(code, method, path).observe(milliseconds)

    def _path(self, path: str) -> tuple[str, bool]:
        """The path as a label, and whether it is a stream. All pages of the console are one page."""
        if method := self._methods.get(path.removeprefix("/api")):
            return f"/api{method.path}", method.streams
        if path in _PATHS:
            return path, False
        return next((prefix for prefix in _PREFIXES if path.startswith(prefix)), "/"), False
