"""What people do to applications, agents and keys from the console, and how a log is painted."""

import re

import pytest
from playwright.async_api import expect

from pipecd.schema.model.strategy_pb2 import PIPELINE, QUICK_SYNC
from tests.console.browser import Visitor
from tests.eventually import eventually
from tests.world import World, pipeline

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]


async def test_a_strategy_is_chosen_for_a_sync(somebody: Visitor, w: World) -> None:
    """The notice leads to the deployment, which is planned as was asked."""
    page = somebody.page
    async with w.agent():
        app = await w.application("shop", {"app.pipecd.yaml": pipeline("echo hello")})
        await w.ended(app)
        for item, strategy in (("Quick sync", QUICK_SYNC), ("Pipeline sync", PIPELINE)):
            await somebody.go(f"/applications/{app}")
            await page.get_by_role("button", name="Choose how to sync").click()
            await page.get_by_role("menuitem", name=re.compile(f"^{item}")).click()
            await page.get_by_role("link", name="See the deployment").click()
            await expect(page).to_have_url(re.compile("/deployments/[^/]+$"))
            await expect(page.locator("header").get_by_text("Succeeded")).to_be_visible()
            made = await w.deployment(page.url.rpartition("/")[2])
            assert made.application_id == app
            assert (made.trigger.commander, made.trigger.sync_strategy) == ("hello", strategy)


async def test_an_application_is_disabled_enabled_and_deleted(somebody: Visitor, w: World) -> None:
    page = somebody.page

    async def choose(item: str) -> None:
        await page.get_by_role("button", name="More actions").click()
        await page.get_by_role("menuitem", name=item).click()
        await page.get_by_role("dialog").get_by_role("button", name=item, exact=True).click()

    async with w.agent():
        app = await w.application("shop", {"app.pipecd.yaml": pipeline("true")})
        await w.ended(app)
        await somebody.go(f"/applications/{app}")
        sync = page.get_by_role("button", name="Sync", exact=True)
        await choose("Disable")
        await expect(sync).to_be_disabled()
        await choose("Enable")
        await expect(sync).to_be_enabled()
        await choose("Delete")
        await expect(page).to_have_url(re.compile("/applications$"))
        await expect(page.get_by_role("link", name="shop", exact=True)).to_have_count(0)
        await somebody.go(f"/applications/{app}")
        await expect(page.get_by_role("heading", name="This application was deleted")).to_be_visible()


async def test_an_agents_key_is_rotated(somebody: Visitor, w: World) -> None:
    """A second key, shown once; then only the second is left, and a third may be made."""
    page = somebody.page

    async def choose(item: str) -> None:
        await page.get_by_role("button", name="Actions for home").click()
        await page.get_by_role("menuitem", name=item).click()

    async def keys() -> int:
        answer = await w.console.call("GetPiped", piped_id=w.piped_id)
        return len(answer.piped.keys)

    await page.get_by_role("link", name="Pipeds").click()
    await choose("Add a new key")
    await page.get_by_role("dialog").get_by_role("button", name="Make a key").click()
    shown = page.get_by_role("dialog", name="The key of home")
    await expect(shown).to_contain_text(f"pipedID: {w.piped_id}")
    assert await keys() == 2
    await shown.get_by_role("button", name="I have copied it").click()
    await page.get_by_role("button", name="Actions for home").click()
    await expect(page.get_by_role("menuitem", name="Add a new key")).to_be_disabled()
    menu = page.get_by_role("menu")
    await menu.press("Escape")
    await expect(menu).to_have_count(0)
    await choose("Delete the old key")
    question = page.get_by_role("dialog", name="Delete the old key of home?")
    await question.get_by_role("button", name="Delete", exact=True).click()
    await expect(question).to_have_count(0)
    assert await keys() == 1
    await page.get_by_role("button", name="Actions for home").click()
    await expect(page.get_by_role("menuitem", name="Add a new key")).to_be_enabled()


async def test_a_programs_key_is_made_and_taken_back(somebody: Visitor, w: World) -> None:
    page = somebody.page
    await page.get_by_role("link", name="API keys").click()
    await page.get_by_role("button", name="Make a key").first.click()
    await page.get_by_role("dialog").get_by_label("Name").fill("ci")
    await page.get_by_role("dialog").get_by_role("button", name="Make", exact=True).click()
    shown = page.get_by_role("dialog", name="The new key")
    await expect(shown).to_contain_text("It is shown this once")
    await shown.get_by_role("button", name="I have copied it").click()
    row = page.get_by_role("row").filter(has_text="ci")
    await row.get_by_role("button", name="Disable").click()
    await page.get_by_role("dialog").get_by_role("button", name="Disable", exact=True).click()
    await expect(row).to_contain_text("Disabled")
    answer = await w.console.call("ListAPIKeys")
    assert [(one.name, one.disabled) for one in answer.keys] == [("ci", True)]


async def test_a_log_is_painted_as_in_a_terminal_and_its_links_lead_back(somebody: Visitor, w: World) -> None:
    """Colour codes become colours, never text; a link to a line opens that line, however far down."""
    page = somebody.page
    script = r"for n in $(seq 400); do echo line $n; done; printf '\033[31mred words\033[0m\n'"
    async with w.agent():
        made = pipeline(script, planner={"alwaysUsePipeline": True})
        app = await w.application("shop", {"app.pipecd.yaml": made})
        ended = await w.ended(app)

        async def told() -> bool:
            return "red words" in await w.log(ended.id, ended.stages[0].id)

        await eventually(told)
        await somebody.go(f"/deployments/{ended.id}")
        log = page.get_by_role("log")
        await page.get_by_role("button", name="To the end").click()
        red = log.locator(".ansi-red", has_text="red words")
        await expect(red).to_be_visible()
        assert "[31m" not in await log.inner_text()
        plain = await log.evaluate("log => getComputedStyle(log).color")
        assert await red.evaluate("red => getComputedStyle(red).color") != plain
        row = page.get_by_role("log").locator("div", has=page.get_by_text("line 200", exact=True)).last
        await page.get_by_label("Search in the log").fill("line 200")
        await row.get_by_role("link").click()
        await expect(page).to_have_url(re.compile(r"line=\d+"))
        linked = page.url
        await somebody.go("/applications")
        await page.goto(linked)
        await expect(log.get_by_text("line 200", exact=True)).to_be_in_viewport()
