"""A control plane, and a browser user signed in to its console."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from pipecd.client import Client, PipedToken, Transport, connect
from tests.console.browser import BrowserUser, launch_browser, open_console
from tests.controlplane.server_fixture import PROJECT
from tests.world import World, world


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with launch_browser() as browser:
        yield browser


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as running:
        yield running


@pytest.fixture
async def agent(w: World) -> AsyncIterator[Client]:
    """A client with the agent's token, to send what the agent would send."""
    token = PipedToken(project_id=PROJECT, piped_id=w.piped_id, key=w.key)
    client = await connect(w.plane.address, token, Transport(insecure=True))
    yield client
    await client.close()


@pytest.fixture
async def user(browser: Browser, w: World) -> AsyncIterator[BrowserUser]:
    """A signed-in user on the application list."""
    async with open_console(browser, w.plane.url) as user:
        await user.go("/")
        await user.sign_in()
        await expect(user.page.get_by_role("heading", name="Applications", level=1)).to_be_visible()
        yield user
