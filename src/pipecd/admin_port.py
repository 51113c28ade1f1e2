"""Minimal HTTP/1.1 server and client for the admin port, the only inbound port of an agent or a launcher.

Used instead of a framework to keep the agent small: GET and HEAD, no request bodies, one request per
connection. The caller supplies the request handler.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import structlog

from pipecd.errors import ConfigError, Temporary
from pipecd.telemetry import AdminResponse

log = structlog.get_logger()

#: Request path → status, content type and body.
RequestHandler = Callable[[str], Awaitable[AdminResponse]]
#: Default listen address: only programs of this machine reach the port.
LOOPBACK = "127.0.0.1"
#: For reading a request and sending its response, in seconds.
_REQUEST_TIMEOUT = 10.0
#: In bytes; longer responses are truncated.
_MAX_RESPONSE_SIZE = 16 * 1024 * 1024


@asynccontextmanager
async def serve(handler: RequestHandler, host: str, port: int) -> AsyncIterator[int]:
    """Serve while the block runs. Yields the port, which the operating system chooses when `port` is 0.

    Raises ConfigError if the port cannot be opened.
    """

    async def handle_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT):
                writer.write(await _response(handler, await reader.readuntil(b"\r\n\r\n")))
                await writer.drain()
        except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            log.debug("admin_request_dropped")
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(handle_connection, host or None, port)
    except OSError as error:
        raise ConfigError(
            f"the admin port {port} cannot be opened: {error.strerror}",
            remedy="choose another port with --admin-port, or stop the process that uses it",
        ) from error
    async with server:
        yield server.sockets[0].getsockname()[1]


async def http_get(port: int, path: str, *, timeout: float = 3.0) -> AdminResponse:
    """GET `path` from `port` of this machine, within `timeout` seconds. Raises Temporary if it fails."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
                head, _, body = (await _read(reader)).partition(b"\r\n\r\n")
            finally:
                writer.close()
        status, *headers = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in headers)
        return int(status.split(" ", 2)[1]), fields.get("content-type", "text/plain"), body
    except (TimeoutError, OSError, ValueError, IndexError) as error:
        raise Temporary(f"port {port} does not answer") from error


async def _read(reader: asyncio.StreamReader) -> bytes:
    """The response, cut to `_MAX_RESPONSE_SIZE`."""
    response = b""
    while len(response) < _MAX_RESPONSE_SIZE and (piece := await reader.read(_MAX_RESPONSE_SIZE)):
        response += piece
    return response[:_MAX_RESPONSE_SIZE]


async def _response(handler: RequestHandler, request: bytes) -> bytes:
    method, target, _ = request.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    if method in ("GET", "HEAD"):
        code, content_type, body = await handler(target)
    else:
        code, content_type, body = 405, "text/plain", b"only GET and HEAD"
    lines = (
        f"HTTP/1.1 {code} {HTTPStatus(code).phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if method == "HEAD" else body)
