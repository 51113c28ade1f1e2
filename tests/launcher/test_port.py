"""The port that a launcher chooses is still its agent's when the agent has come up."""

import socket
import sys

import pytest

from pipecd.admin_port import asked, served
from pipecd.launcher.agent import held_port
from pipecd.telemetry import Answer

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere two sockets cannot share an address"
)


async def _page(path: str) -> Answer:
    return 200, "text/plain", path.encode()


async def test_the_agent_listens_where_nobody_else_may() -> None:
    with held_port() as port:
        with socket.socket() as stranger, pytest.raises(OSError, match="Address already in use"):
            stranger.bind(("127.0.0.1", port))
        for _ in range(2):
            async with served(_page, "127.0.0.1", port):
                assert (await asked(port, "/here", timeout=60))[2] == b"/here"


async def test_who_lets_the_system_choose_is_given_another() -> None:
    with held_port() as port:
        chosen = set()
        for _ in range(50_000):
            with socket.socket() as stranger:
                stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                stranger.bind(("127.0.0.1", 0))
                chosen.add(stranger.getsockname()[1])
    assert port not in chosen
