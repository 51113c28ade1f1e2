"""Whether a browser sent a request on behalf of another site.

`Sec-Fetch-Site` says so where browsers send it, which is over HTTPS. Otherwise `Origin` must name the host
that the request was sent to, or the configured address of the console. Programs send neither.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


def is_foreign(headers: Mapping[str, str], address: str) -> bool:
    """`address` is the configured URL of the console, or empty."""
    if site := headers.get("sec-fetch-site", ""):
        return site not in ("same-origin", "none")
    origin = headers.get("origin", "")
    if not origin:
        return False
    host = _host(origin)
    return not host or host not in (headers.get("host", "").lower(), _host(address))


def _host(url: str) -> str:
    """Host and port of `url` as in the header `Host`; empty if it has none."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


class RefuseForeign:
    """Refuses requests that other sites cause."""

    def __init__(self, app: ASGIApp, *, address: str) -> None:
        self._app, self._address = app, address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_foreign(Headers(scope=scope), self._address):
            response = PlainTextResponse("only pages of the console may call this address", status_code=403)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)
