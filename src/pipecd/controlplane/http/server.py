"""Runs uvicorn inside a task group, on a socket opened by the caller.

By default uvicorn installs signal handlers and ends the process on a signal; here both are disabled.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from pipecd.controlplane.http.connections import Connections, limited_protocol
from pipecd.errors import ConfigError

#: How long in-flight requests may run after shutdown begins, in seconds.
GRACE_PERIOD = 2


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self._connections = connections

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # One that was accepted just before would otherwise be served until its client closes it.
        self._connections.admit_no_more()
        await super().shutdown(sockets)
        self._connections.end_all("the server stops")


def open_port(host: str, port: int, purpose: str) -> socket.socket:
    """A listening socket; port 0 selects any free port. Raises ConfigError if the port is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol must be IPPROTO_TCP for asyncio to disable Nagle's algorithm.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise ConfigError(
            f"cannot listen on {host}:{port} for {purpose}: {error.strerror}",
            remedy="stop the process that uses the port, or choose another port;"
            " --host must be an address of this machine",
        ) from error
    sock.listen(2048)
    sock.setblocking(False)
    return sock


@asynccontextmanager
async def serving(app: ASGIApp, sock: socket.socket, connections: Connections) -> AsyncGenerator[None]:
    """Serve `app` on `sock` while the body runs; then stop within `GRACE_PERIOD`."""
    config = uvicorn.Config(
        app,
        http=limited_protocol(connections),
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_PERIOD,
        timeout_keep_alive=75,
        proxy_headers=False,
    )
    server = _Server(config, connections)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(server.serve(sockets=[sock]), name="http")
        try:
            yield
        finally:
            server.should_exit = True
            await asyncio.wait([running], timeout=GRACE_PERIOD * 2)
