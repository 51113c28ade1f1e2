"""A real browser and the user in front of it. Uses the Chromium installed on the system."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from pipecd.controlplane.auth.sessions import COOKIE, Session
from pipecd.controlplane.http.console import BUILT_CONSOLE
from tests.actors import TESTER
from tests.controlplane.server_fixture import PASSWORD, PROJECT, USER, ControlPlane

#: How long an element may take to appear on a busy machine, in milliseconds.
TIMEOUT_MS = 60_000
expect.set_options(timeout=TIMEOUT_MS)


@dataclass
class BrowserUser:
    page: Page
    base: str
    #: Errors in the browser's own console.
    errors: list[str] = field(default_factory=list)

    async def go(self, path: str) -> None:
        await self.page.goto(f"{self.base}{path}")

    async def has_roles(self, plane: ControlPlane, *roles: str, project: str = PROJECT) -> None:
        """Signs in without the form, as a user with these roles."""
        session = Session(project_id=project, username="ann", roles=roles)
        token = await plane.server.services.sessions.start(session, by=TESTER)
        cookie: Any = {"name": COOKIE, "value": token, "url": self.base, "httpOnly": True}
        await self.page.context.add_cookies([cookie])

    async def sign_in(self, password: str = PASSWORD, project: str = PROJECT) -> None:
        await self.page.get_by_label("Project").fill(project)
        await self.page.get_by_role("textbox", name="User").fill(USER)
        await self.page.locator("input[type=password]").fill(password)
        await self.page.get_by_role("button", name="Sign in").click()


def find_chromium() -> str:
    # The first has no window to draw, and needs a third less CPU time for a test.
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None and os.environ.get("CI"):
        pytest.fail("Chromium is not installed, and CI must have it")
    if path is None:
        pytest.skip("Chromium is not installed (Debian: apt install chromium-headless-shell)")
    return path


@asynccontextmanager
async def launch_browser() -> AsyncIterator[Browser]:
    assert (BUILT_CONSOLE / "index.html").is_file(), "the console is not built: run `make console`"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_chromium(), args=["--no-sandbox"], timeout=2 * TIMEOUT_MS
        )
        try:
            yield browser
        finally:
            await browser.close()


def console_errors(message: ConsoleMessage) -> list[str]:
    """The message if it is an error. Ignores a 401 of the calls that find out whether there is a session."""
    location = message.location["url"]
    expected = location.endswith(("/GetMe", "/SeeRights")) and "401" in message.text
    return [f"{message.text} ({location})"] if message.type == "error" and not expected else []


@asynccontextmanager
async def open_console(
    browser: Browser, base: str, width: int = 1280, *, reduced_motion: bool = False
) -> AsyncIterator[BrowserUser]:
    context = await browser.new_context(
        viewport={"width": width, "height": 860}, reduced_motion="reduce" if reduced_motion else None
    )
    context.set_default_timeout(TIMEOUT_MS)
    page = await context.new_page()
    user = BrowserUser(page, base)
    page.on("pageerror", lambda error: user.errors.append(str(error)))
    page.on("console", lambda message: user.errors.extend(console_errors(message)))
    try:
        yield user
        assert not user.errors, "\n".join(user.errors)
    finally:
        await context.close()
