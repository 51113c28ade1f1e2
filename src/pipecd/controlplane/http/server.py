"""uvicorn inside our own task group: it opens a port we chose, and stops when we say so.

uvicorn likes to take over the signals and to end the process by them; here it may do neither.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from pipecd.errors import ConfigError

#: How long answers that are under way may take once a stop was asked for (seconds).
GRACE = 2


class _Quiet(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def open_port(host: str, port: int, purpose: str) -> socket.socket:
    """A listening socket; port 0 takes any. Raises ConfigError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP, so that asyncio turns off its waiting for fuller packets.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise ConfigError(
            f"cannot listen on {host}:{port} for {purpose}: {error.strerror}",
            remedy="stop what uses the port or choose another",
        ) from error
    sock.listen(2048)
    sock.setblocking(False)
    return sock


@asynccontextmanager
async def serving(app: ASGIApp, sock: socket.socket) -> AsyncGenerator[None]:
    """Serve `app` on `sock` while the body runs; then stop within `GRACE`."""
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=75,
        proxy_headers=False,
    )
    server = _Quiet(config)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(server.serve(sockets=[sock]), name="http")
        try:
            yield
        finally:
            server.should_exit = True
            await asyncio.wait([running], timeout=GRACE * 2)
