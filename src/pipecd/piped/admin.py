"""The agent's one inbound port: `/healthz`, `/metrics` and `/version`, for whoever operates it.

A few lines of HTTP/1.1 instead of a framework, because an agent should be small: GET and HEAD, no
bodies, one request a connection. What is answered stands in `telemetry`.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import structlog

from pipecd.client import Client
from pipecd.errors import ConfigError
from pipecd.piped.metrics import REGISTRY
from pipecd.telemetry import Health, admin_answer

log = structlog.get_logger()

#: An agent that could not talk to the control plane for so long does no work (seconds).
OUT_OF_TOUCH = 180.0
_REQUEST_TIMEOUT = 10.0


def health(client: Client) -> Health:
    """Unwell once the control plane has not answered for long."""
    started = time.monotonic()

    async def check() -> str:
        silent = time.monotonic() - (client.last_success or started)
        if silent < OUT_OF_TOUCH:
            return ""
        return f"no good answer from the control plane at {client.address} for {silent:.0f} s"

    return check


@asynccontextmanager
async def served(health: Health, host: str, port: int) -> AsyncIterator[int]:
    """Serve while the block runs; gives the port, which the system chose when `port` is 0."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT):
                writer.write(await _response(health, await reader.readuntil(b"\r\n\r\n")))
                await writer.drain()
        except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            log.debug("admin request dropped")
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(answer, host or None, port)
    except OSError as error:
        raise ConfigError(
            f"the admin port {port} cannot be opened: {error.strerror}",
            remedy="choose another with --admin-port, or stop what uses it",
        ) from error
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _response(health: Health, request: bytes) -> bytes:
    method, target, _ = request.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    if method in ("GET", "HEAD"):
        code, content_type, body = await admin_answer(target, health, REGISTRY)
    else:
        code, content_type, body = 405, "text/plain", b"only GET and HEAD"
    lines = (
        f"HTTP/1.1 {code} {HTTPStatus(code).phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if method == "HEAD" else body)
