"""A real browser and the user in front of it. Uses the Chromium installed on the system."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    CDPSession,
    ConsoleMessage,
    Page,
    async_playwright,
    expect,
)

from pipecd.controlplane.auth.sessions import COOKIE, Session
from pipecd.controlplane.http.console import BUILT_CONSOLE
from tests.actors import TESTER
from tests.controlplane.server_fixture import PASSWORD, PROJECT, USER, ControlPlane

#: How long an element may take to appear on a busy machine, in milliseconds.
TIMEOUT_MS = 60_000
expect.set_options(timeout=TIMEOUT_MS)
#: Options of Chromium that save CPU time and do not change what a page shows. All pages of a context share
#: one process, and scripts are not optimized: that costs more than it gains in the seconds a page is shown.
ECONOMICAL = ("--process-per-site", "--js-flags=--no-opt,--no-maglev")
HEIGHT = 860


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
async def launch_browser(*options: str) -> AsyncIterator[Browser]:
    """`options` are Chromium's."""
    assert (BUILT_CONSOLE / "index.html").is_file(), "the console is not built: run `make console`"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_chromium(), args=["--no-sandbox", *options], timeout=2 * TIMEOUT_MS
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
async def _user_of(page: Page, base: str) -> AsyncIterator[BrowserUser]:
    """Fails if the page has reported an error."""
    user = BrowserUser(page, base)
    page.on("pageerror", lambda error: user.errors.append(str(error)))
    page.on("console", lambda message: user.errors.extend(console_errors(message)))
    yield user
    assert not user.errors, "\n".join(user.errors)


@asynccontextmanager
async def open_console(browser: Browser, base: str) -> AsyncIterator[BrowserUser]:
    """In a browser context of its own, for a second user, or a test that changes the context itself."""
    context = await browser.new_context(viewport={"width": 1280, "height": HEIGHT})
    context.set_default_timeout(TIMEOUT_MS)
    try:
        async with _user_of(await context.new_page(), base) as user:
            yield user
    finally:
        await context.close()


@dataclass(frozen=True)
class SharedContext:
    """A browser context for one user after another, and its renderer process.

    What Chromium has loaded and compiled is kept: files of the console, whose names have a hash of their
    contents. All else that a user may leave is removed.
    """

    _context: BrowserContext
    #: A page without scripts. The process ends with its last page.
    _keeper: Page
    _chromium: CDPSession

    @classmethod
    @asynccontextmanager
    async def create(cls, browser: Browser) -> AsyncIterator["SharedContext"]:
        context = await browser.new_context(viewport={"width": 1280, "height": HEIGHT})
        context.set_default_timeout(TIMEOUT_MS)
        try:
            keeper = await context.new_page()
            yield cls(context, keeper, await context.new_cdp_session(keeper))
        finally:
            await context.close()

    @asynccontextmanager
    async def open(self, base: str) -> AsyncIterator[BrowserUser]:
        if not self._keeper.url.startswith(f"{base}/"):
            await self._keeper.goto(f"{base}/favicon.svg")
        page = await self._context.new_page()
        try:
            async with _user_of(page, base) as user:
                yield user
        finally:
            await self._remove_traces(base)

    async def _remove_traces(self, base: str) -> None:
        for page in self._context.pages:
            if page != self._keeper:
                await page.close()
        await self._context.unroute_all()
        await self._context.set_offline(False)
        await self._context.clear_permissions()
        await self._context.clear_cookies()
        everything = {"origin": base, "storageTypes": "all"}
        await self._chromium.send("Storage.clearDataForOrigin", everything)
