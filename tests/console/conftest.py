"""A control plane, and somebody who has signed in to its console."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from pipecd.client import Client, PipedToken, Transport, connect
from tests.console.browser import Visitor, browser, visitor
from tests.controlplane.server_fixture import PROJECT
from tests.world import World, world


@pytest.fixture
async def opened() -> AsyncIterator[Browser]:
    async with browser() as running:
        yield running


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as running:
        yield running


@pytest.fixture
async def agent(w: World) -> AsyncIterator[Client]:
    """Says what an agent says, in its name."""
    token = PipedToken(project_id=PROJECT, piped_id=w.piped_id, key=w.key)
    client = await connect(w.plane.address, token, Transport(insecure=True))
    yield client
    await client.close()


@pytest.fixture
async def somebody(opened: Browser, w: World) -> AsyncIterator[Visitor]:
    """Signed in, on the list of applications."""
    async with visitor(opened, w.plane.url) as made:
        await made.go("/")
        await made.sign_in()
        await expect(made.page.get_by_role("heading", name="Applications", level=1)).to_be_visible()
        yield made
