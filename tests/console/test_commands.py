"""The command palette, keyboard shortcuts, favourites and saved filters."""

import re

import pytest
from playwright.async_api import expect

from pipecd.client import Client
from pipecd.schema.model.kind_pb2 import TERRAFORM
from tests.console.browser import BrowserUser
from tests.console.seeds import report_repository
from tests.world import World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]


async def test_pages_and_applications_are_reached_by_keyboard(
    user: BrowserUser, w: World, agent: Client
) -> None:
    """Also favourites and saved filters, which this browser stores."""
    page = user.page
    await report_repository(agent)
    app = await w.register("checkout", kind=TERRAFORM)
    heading = page.get_by_role("heading", level=1)

    await user.go("/")
    await expect(heading).to_have_text("Applications")
    # In one step: the second key counts for 1.5 seconds, and a step of Playwright can take longer.
    await page.evaluate(
        "for (const key of 'gd')"
        " document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }))"
    )
    await expect(heading).to_have_text("Deployments")
    await page.keyboard.press("/")
    await expect(page.get_by_role("searchbox", name="Search by application")).to_be_focused()
    await page.keyboard.type("g a")
    await expect(page.get_by_role("searchbox", name="Search by application")).to_have_value("g a")
    await expect(page).to_have_url(re.compile(r"/deployments\?q=g\+a"))

    await page.keyboard.press("Control+k")
    palette = page.get_by_role("dialog")
    await palette.get_by_label("Search everything").fill("check")
    await expect(palette.get_by_role("button", name=re.compile("checkout"))).to_be_visible()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile(f"/applications/{app}"))

    await page.get_by_role("button", name="Favourite checkout").click()
    await page.keyboard.press("?")
    help_dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    await expect(help_dialog.get_by_role("table")).to_contain_text("Needs attention")
    await help_dialog.get_by_role("button", name="Close").click()
    await expect(help_dialog).to_have_count(0)

    await user.go("/applications?kind=terraform")
    saved = page.get_by_role("group", name="Favourites and saved filters")
    await expect(saved.get_by_role("link", name="checkout")).to_be_visible()
    await saved.get_by_role("button", name="Save filter").click()
    await page.get_by_label("Name", exact=True).fill("Infrastructure")
    await page.get_by_role("button", name="Save", exact=True).click()
    await user.go("/applications")
    await saved.get_by_role("link", name="Infrastructure").click()
    await expect(page).to_have_url(re.compile(r"/applications\?kind=terraform"))
