"""A real browser with somebody in front of it. Chromium comes from the system, or from Playwright."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from pipecd.controlplane.http.console import BUILT
from tests.controlplane.server_fixture import PASSWORD, PROJECT, USER

#: How long anything may take to show on a busy machine (milliseconds).
PATIENCE = 60_000
expect.set_options(timeout=PATIENCE)


@dataclass
class Visitor:
    page: Page
    base: str
    #: What the page complained about in its own console.
    complaints: list[str] = field(default_factory=list)

    async def go(self, path: str) -> None:
        await self.page.goto(f"{self.base}{path}")

    async def sign_in(self, password: str = PASSWORD) -> None:
        await self.page.get_by_label("Project").fill(PROJECT)
        await self.page.get_by_role("textbox", name="User").fill(USER)
        await self.page.locator("input[type=password]").fill(password)
        await self.page.get_by_role("button", name="Log in").click()


def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None and os.environ.get("CI"):
        pytest.fail("Chromium is not installed, and CI must have it")
    if found is None:
        pytest.skip("Chromium is not installed (Debian: apt install chromium)")
    return found


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    assert (BUILT / "index.html").is_file(), "the console is not built: run `make console`"
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox"], timeout=2 * PATIENCE
        )
        try:
            yield opened
        finally:
            await opened.close()


def complaints(message: ConsoleMessage) -> list[str]:
    """Errors; but that nobody is signed in is what the page asked to know."""
    place = message.location["url"]
    expected = place.endswith("/GetMe") and "401" in message.text
    return [f"{message.text} ({place})"] if message.type == "error" and not expected else []


@asynccontextmanager
async def visitor(opened: Browser, base: str, width: int = 1280) -> AsyncIterator[Visitor]:
    context = await opened.new_context(viewport={"width": width, "height": 860})
    context.set_default_timeout(PATIENCE)
    page = await context.new_page()
    made = Visitor(page, base)
    page.on("pageerror", lambda error: made.complaints.append(str(error)))
    page.on("console", lambda message: made.complaints.extend(complaints(message)))
    try:
        yield made
        assert not made.complaints, "\n".join(made.complaints)
    finally:
        await context.close()
