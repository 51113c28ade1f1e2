"""Agents upgraded and restarted from the console."""

import asyncio
import re

import pytest
from playwright.async_api import Locator, Page, expect

from pipecd.client import Client
from pipecd.schema.agent.pipeds_pb2 import GetDesiredVersionRequest, ReportPipedMetaRequest
from tests.console.browser import Visitor
from tests.world import World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]


async def choose(page: Page, piped: str, item: str) -> None:
    await page.get_by_role("button", name=f"Actions for {piped}").click()
    await page.get_by_role("menuitem", name=item).click()


def row(page: Page, piped: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("button", name=f"Actions for {piped}"))


async def test_an_upgrade_is_asked_for_and_shown_until_it_is_there(
    somebody: Visitor, w: World, agent: Client
) -> None:
    """From the row's menu, with a version that only the releases of one's own hold."""
    page = somebody.page
    other = await w.console.call("RegisterPiped", name="staging")
    await agent.call(agent.piped.ReportPipedMeta, ReportPipedMetaRequest(version="0.1.0"))
    await page.get_by_role("link", name="Pipeds").click()
    await choose(page, "home", "Upgrade")
    dialog = page.get_by_role("dialog", name="Upgrade pipeds")
    await expect(dialog).to_contain_text("without the launcher does not change")
    await expect(dialog.get_by_role("checkbox", name="home")).to_be_checked()
    await expect(dialog.get_by_role("checkbox", name="staging")).not_to_be_checked()
    await dialog.get_by_label("Version").fill("9.9.9")
    await dialog.get_by_role("button", name="Upgrade", exact=True).click()
    await expect(dialog).to_have_count(0)
    home = row(page, "home")
    await expect(home.get_by_role("status")).to_contain_text("upgrading to v9.9.9…")
    await expect(row(page, "staging").get_by_role("status")).to_have_count(0)
    wanted = await agent.call(agent.piped.GetDesiredVersion, GetDesiredVersionRequest())
    assert wanted.version == "v9.9.9", "what its launcher asks for"
    assert (await w.console.call("GetPiped", piped_id=other.id)).piped.desired_version == ""

    await agent.call(agent.piped.ReportPipedMeta, ReportPipedMetaRequest(version="9.9.9"))
    await expect(home.get_by_role("status")).to_have_count(0)
    await expect(home.get_by_role("cell", name="9.9.9", exact=True)).to_be_visible()


async def test_several_are_upgraded_to_an_offered_version(somebody: Visitor, w: World) -> None:
    """All that may work are chosen at first; one is taken out."""
    page = somebody.page
    for name in ("production", "staging", "retired"):
        made = await w.console.call("RegisterPiped", name=name)
    await w.console.call("DisablePiped", piped_id=made.id)
    (own,) = (await w.console.call("ListReleasedVersions")).versions
    await page.get_by_role("link", name="Pipeds").click()
    await expect(row(page, "retired")).to_contain_text("Disabled")
    await page.get_by_role("button", name="Upgrade pipeds").click()
    dialog = page.get_by_role("dialog", name="Upgrade pipeds")
    version = dialog.get_by_label("Version")
    await expect(version).to_have_value(own)
    await version.fill("v")
    await page.get_by_role("option", name=own).click()
    await expect(version).to_have_value(own)
    await expect(dialog.get_by_role("checkbox", name="retired")).not_to_be_checked()
    await dialog.get_by_role("checkbox", name="production").uncheck()
    await dialog.get_by_role("button", name="Upgrade 2 pipeds").click()
    await expect(dialog).to_have_count(0)
    await expect(row(page, "staging").get_by_role("status")).to_contain_text(f"upgrading to {own}…")
    pipeds = (await w.console.call("ListPipeds")).pipeds
    asked = {one.name: one.desired_version for one in pipeds}
    assert asked == {"home": own, "staging": own, "production": "", "retired": ""}


async def test_a_dialog_that_nothing_is_known_for_takes_what_is_typed(somebody: Visitor, w: World) -> None:
    """The list of releases is a help; without it and without a choice, the dialog says what it needs."""
    page = somebody.page
    await page.route("**/ListReleasedVersions", lambda route: route.fulfill(body=b""))
    await page.get_by_role("link", name="Pipeds").click()
    await choose(page, "home", "Upgrade")
    dialog = page.get_by_role("dialog", name="Upgrade pipeds")
    verb = dialog.get_by_role("button", name="Upgrade", exact=True)
    await expect(dialog.get_by_label("Version")).to_have_value("")
    await expect(verb).to_be_disabled()
    await dialog.get_by_label("Version").fill("v1.2.3")
    await expect(verb).to_be_enabled()
    await dialog.get_by_role("checkbox", name="home").uncheck()
    await expect(verb).to_be_disabled()
    await dialog.get_by_role("button", name="Keep as it is").click()
    await expect(dialog).to_have_count(0)
    assert (await w.console.call("GetPiped", piped_id=w.piped_id)).piped.desired_version == ""


async def test_an_agent_is_restarted(somebody: Visitor, w: World) -> None:
    page = somebody.page
    async with w.agent() as running:
        await page.get_by_role("link", name="Pipeds").click()
        await expect(row(page, "home")).to_contain_text("Online")
        await choose(page, "home", "Restart")
        question = page.get_by_role("dialog", name="Restart home?")
        await question.get_by_role("button", name="Restart", exact=True).click()
        await expect(page.get_by_role("alert").filter(has_text="Restart home")).to_contain_text(
            re.compile("It restarts now")
        )
        await asyncio.wait_for(running, 120)
    await expect(row(page, "home")).to_contain_text("Offline")
