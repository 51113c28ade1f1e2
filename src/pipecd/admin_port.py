"""The one inbound port of an agent or a launcher, and asking another process's.

A few lines of HTTP/1.1 instead of a framework, because an agent should be small: GET and HEAD, no
bodies, one request a connection. What is answered is the program's affair.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import structlog

from pipecd.errors import ConfigError, Temporary
from pipecd.telemetry import Answer

log = structlog.get_logger()

#: A path of the request → status, content type and body.
Pages = Callable[[str], Awaitable[Answer]]
_REQUEST_TIMEOUT = 10.0
_LARGEST_ANSWER = 16 * 1024 * 1024


@asynccontextmanager
async def served(pages: Pages, host: str, port: int) -> AsyncIterator[int]:
    """Serve while the block runs; gives the port, which the system chose when `port` is 0."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT):
                writer.write(await _response(pages, await reader.readuntil(b"\r\n\r\n")))
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


async def asked(port: int, path: str, *, timeout: float = 3.0) -> Answer:
    """What the process behind `port` of this machine answers. Raises Temporary when it does not."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
                head, _, body = (await reader.read(-1))[:_LARGEST_ANSWER].partition(b"\r\n\r\n")
            finally:
                writer.close()
        status, *headers = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in headers)
        return int(status.split(" ", 2)[1]), fields.get("content-type", "text/plain"), body
    except (TimeoutError, OSError, ValueError, IndexError) as error:
        raise Temporary(f"port {port} does not answer") from error


async def _response(pages: Pages, request: bytes) -> bytes:
    method, target, _ = request.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    if method in ("GET", "HEAD"):
        code, content_type, body = await pages(target)
    else:
        code, content_type, body = 405, "text/plain", b"only GET and HEAD"
    lines = (
        f"HTTP/1.1 {code} {HTTPStatus(code).phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if method == "HEAD" else body)
