"""A control plane, and a browser user signed in to its console.

All tests of a worker share one browser, whose start takes as much CPU time as a short test, and therefore its
event loop. Each test has its own browser context: cookies, storage and cache.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from pipecd.client import Client, PipedToken, Transport, connect
from tests.console.browser import BrowserUser, launch_browser, open_console
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
    async with launch_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as running:
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
async def user(browser: Browser, w: World) -> AsyncIterator[BrowserUser]:
    """A signed-in user on the application list."""
    async with open_console(browser, w.plane.url) as user:
        await user.page.context.add_cookies(await _session_of_its_own(w))
        await user.go("/")
        await expect(user.page.get_by_role("heading", name="Applications", level=1)).to_be_visible()
        yield user
