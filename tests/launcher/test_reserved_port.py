"""The port a launcher reserves stays available to its agent until the agent listens."""

import socket
import sys

import pytest

from pipecd.admin_port import http_get, serve
from pipecd.launcher.agent import reserve_port
from pipecd.telemetry import AdminResponse

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="two sockets can share an address only on Linux"
)


async def _echo_path(path: str) -> AdminResponse:
    return 200, "text/plain", path.encode()


async def test_only_the_agent_can_listen_on_a_reserved_port() -> None:
    with reserve_port() as port:
        with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
            other.bind(("127.0.0.1", port))
        for _ in range(2):
            async with serve(_echo_path, "127.0.0.1", port):
                assert (await http_get(port, "/here", timeout=60))[2] == b"/here"


async def test_the_system_does_not_assign_a_reserved_port() -> None:
    with reserve_port() as port:
        assigned = set()
        for _ in range(50_000):
            with socket.socket() as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                other.bind(("127.0.0.1", 0))
                assigned.add(other.getsockname()[1])
    assert port not in assigned
