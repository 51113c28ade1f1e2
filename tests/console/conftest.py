"""A control plane, and a browser user signed in to its console.

All tests of a worker share one browser, whose start takes as much CPU time as a short test, and therefore its
event loop. They also share its process for pages, and the port of the control plane, since Chromium keeps
compiled scripts by address. See decision 96.
"""

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from pipecd.client import Client, PipedToken, Transport, connect
from tests.console.browser import ECONOMICAL, BrowserUser, SharedContext, launch_browser
from tests.controlplane.server_fixture import PROJECT, Console
from tests.world import World, world

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with launch_browser(*ECONOMICAL) as browser:
        yield browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_context(browser: Browser) -> AsyncIterator[SharedContext]:
    async with SharedContext.create(browser) as context:
        yield context


@pytest.fixture(scope="session")
def console_port() -> Iterator[int]:
    """A port for the console, of one control plane after another.

    Linux lets two sockets bind the same address as long as only one of them listens; while this one is bound,
    no other program gets the port.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest_asyncio.fixture(loop_scope="session")
async def w(tmp_path: Path, console_port: int) -> AsyncIterator[World]:
    async with world(tmp_path, ports=(0, console_port)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def agent(w: World) -> AsyncIterator[Client]:
    """A client with the agent's token, to send what the agent would send."""
    token = PipedToken(project_id=PROJECT, piped_id=w.piped_id, key=w.key)
    client = await connect(w.plane.address, token, Transport(insecure=True))
    yield client
    await client.close()


async def _session_of_its_own(w: World) -> list[Any]:
    """Cookies of a new session. Loading and filling in the form takes a third of a short test's CPU time."""
    console = Console(w.plane.url)
    async with console.http:
        await console.sign_in()
        return [
            {"name": cookie.name, "value": cookie.value, "url": w.plane.url, "httpOnly": True}
            for cookie in console.http.cookies.jar
        ]


@pytest_asyncio.fixture(loop_scope="session")
async def guest(shared_context: SharedContext, w: World) -> AsyncIterator[BrowserUser]:
    """A user who is not signed in, before the first page."""
    async with shared_context.open(w.plane.url) as guest:
        yield guest


@pytest_asyncio.fixture(loop_scope="session")
async def user(guest: BrowserUser, w: World) -> BrowserUser:
    """A signed-in user, before the first page."""
    await guest.page.context.add_cookies(await _session_of_its_own(w))
    return guest
