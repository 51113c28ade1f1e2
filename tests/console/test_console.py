"""The console in a real Chromium, against a real control plane, agent and Git remote; nothing is reloaded."""

import re

import pytest
from playwright.async_api import Browser, expect

from pipecd.schema.model.api_key_pb2 import APIKey
from tests.console.browser import Visitor, visitor
from tests.eventually import eventually
from tests.world import World, pipeline, terraform

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]


async def test_signing_in_says_what_is_wrong_and_leads_back(opened: Browser, w: World) -> None:
    async with visitor(opened, w.plane.url) as made:
        await made.go("/pipeds")
        await expect(made.page).to_have_url(re.compile("/login"))
        await made.sign_in("not the password")
        await expect(made.page.get_by_role("alert")).to_contain_text("wrong")
        await made.sign_in()
        await expect(made.page.get_by_role("heading", name="Pipeds", level=1)).to_be_visible()


async def test_an_empty_project_says_what_to_do(somebody: Visitor) -> None:
    page = somebody.page
    await expect(page.get_by_role("main")).to_contain_text(re.compile("No application|no application"))
    await page.get_by_role("link", name="Deployments", exact=True).click()
    await expect(page.get_by_role("heading", name="Nothing was deployed yet")).to_be_visible()
    await page.get_by_role("link", name="API keys").click()
    await expect(page.get_by_role("heading", name="There is no key yet")).to_be_visible()
    await somebody.go("/nowhere")
    await expect(page.get_by_role("main")).to_contain_text(
        re.compile("not found|no such page", re.IGNORECASE)
    )


async def test_from_a_suggestion_to_an_approved_deployment(somebody: Visitor, w: World) -> None:
    """The main story, seen from the browser: found, added, planned, approved, deployed."""
    page = somebody.page
    file = pipeline(
        "echo one; echo a needle here; echo three",
        {"name": "WAIT_APPROVAL"},
        "echo after the approval",
        name="checkout",
        labels={"env": "prod"},
        planner={"alwaysUsePipeline": True},
    )
    await w.push(
        "Add checkout",
        {"checkout/app.pipecd.yaml": file, "checkout/main.tf": terraform(w.folder / "checkout.tfstate")},
    )
    async with w.agent():
        await somebody.go("/applications/add")
        await page.get_by_role("button", name="Fill in").click()
        await expect(page.get_by_label("Name", exact=False).first).to_have_value("checkout")
        await page.get_by_role("button", name="Add", exact=True).click()
        await expect(page.get_by_role("heading", name="checkout", level=1)).to_be_visible()
        await page.locator('main a[href^="/deployments/"]').first.click()
        stages = page.get_by_role("group", name="Stages of the pipeline")
        await expect(stages.get_by_role("button", name=re.compile("Succeeded.*SCRIPT_RUN"))).to_be_visible()
        approve = page.get_by_role("button", name="Approve")
        await expect(approve).to_be_visible()

        await stages.get_by_role("button", name=re.compile("SCRIPT_RUN")).first.click()
        log = page.get_by_role("log")
        await expect(log).to_contain_text("a needle here")
        await page.get_by_label("Search in the log").fill("NEEDLE")
        await expect(page.get_by_text(re.compile("1 of"))).to_be_visible()
        await log.get_by_role("link", name="Link to line 2").click()
        await expect(page).to_have_url(re.compile("stage=stage-0&line=2"))

        await stages.get_by_role("button", name=re.compile("WAIT_APPROVAL")).click()
        await approve.click()
        await expect(page.get_by_text("Approved by hello").first).to_be_visible()
        await expect(page.locator("header").get_by_text("Succeeded")).to_be_visible()
        await stages.get_by_role("button", name=re.compile("SCRIPT_RUN")).last.click()
        await expect(log).to_contain_text("after the approval")


async def test_a_failure_shows_its_first_error_and_its_rollback(somebody: Visitor, w: World) -> None:
    page = somebody.page
    async with w.agent():
        app = await w.application(
            "shop",
            {
                "app.pipecd.yaml": pipeline(
                    {"name": "SCRIPT_RUN", "with": {"run": "exit 3", "onRollback": "echo put back"}},
                    planner={"alwaysUsePipeline": True},
                    input={"autoRollback": True},
                )
            },
        )
        ended = await w.ended(app)
        await somebody.go(f"/deployments/{ended.id}")
        await expect(page.locator("header").get_by_text("Failed")).to_be_visible()
        await expect(page.get_by_role("alert").first).to_contain_text("ended with code 3")
        await page.get_by_role("button", name="First error").click()
        await expect(page.get_by_role("log")).to_contain_text("ended with code 3")
        stages = page.get_by_role("group", name="Stages of the pipeline")
        await stages.get_by_role("button", name=re.compile("SCRIPT_RUN_ROLLBACK")).click()
        await expect(page.get_by_role("log")).to_contain_text("put back")


async def test_a_deployment_is_cancelled(somebody: Visitor, w: World) -> None:
    page = somebody.page
    async with w.agent():
        waits = pipeline({"name": "WAIT", "with": {"duration": "10m"}}, planner={"alwaysUsePipeline": True})
        app = await w.application("shop", {"app.pipecd.yaml": waits})
        await somebody.go(f"/applications/{app}")
        await page.locator('main a[href^="/deployments/"]').first.click()
        await expect(page.locator("header").get_by_text("Running")).to_be_visible()
        await page.get_by_role("button", name="Choose how to cancel").click()
        await page.get_by_role("menuitem", name=re.compile("Cancel without rollback")).click()
        await page.get_by_role("dialog").get_by_role("button", name="Cancel without rollback").click()
        await expect(page.locator("header").get_by_text("Cancelled")).to_be_visible()


async def test_a_broken_file_is_shown_with_its_place_and_heals(somebody: Visitor, w: World) -> None:
    page = somebody.page
    async with w.agent():
        good = pipeline("true", planner={"alwaysUsePipeline": True})
        app = await w.application("shop", {"app.pipecd.yaml": good})
        await w.ended(app)
        await somebody.go(f"/applications/{app}")
        await expect(page.locator("header").get_by_text("Synced")).to_be_visible()
        await w.push("Break it", {"shop/app.pipecd.yaml": good.replace("SCRIPT_RUN", "SCRIPT_RUM")})
        complaint = page.get_by_role("alert").filter(has_text="The configuration has a mistake")
        await expect(complaint).to_contain_text("app.pipecd.yaml:")
        await expect(complaint).to_contain_text("SCRIPT_RUM")
        await w.push("Mend it", {"shop/app.pipecd.yaml": good})
        await expect(complaint).to_have_count(0)


async def test_filters_stand_in_the_address(somebody: Visitor, w: World) -> None:
    page = somebody.page
    async with w.agent():
        for name in ("shop", "bank"):
            await w.application(name, {"app.pipecd.yaml": pipeline("true", name=name)})
        await somebody.go("/applications")
        await expect(page.get_by_role("link", name="bank", exact=True)).to_be_visible()
        await page.get_by_label("Search by name or label").fill("sho")
        await expect(page).to_have_url(re.compile("q=sho"))
        await expect(page.get_by_role("link", name="bank", exact=True)).to_have_count(0)
        await expect(page.get_by_role("link", name="shop", exact=True)).to_be_visible()
        await page.go_back()
        await page.goto(f"{somebody.base}/applications?q=nothing-like-it")
        await expect(page.get_by_role("button", name="Clear filters").first).to_be_visible()


async def test_an_agent_is_registered_and_its_key_shown_once(somebody: Visitor, w: World) -> None:
    page = somebody.page
    await page.get_by_role("link", name="Pipeds").click()
    await page.get_by_role("button", name="Register a piped").first.click()
    await page.get_by_label("Name").fill("production")
    await page.get_by_role("dialog").get_by_role("button", name="Register").click()
    shown = page.get_by_role("dialog", name="The key of production")
    await expect(shown).to_contain_text("pipedKeyData:")
    await shown.get_by_role("button", name="I have copied it").click()
    await expect(shown).to_have_count(0)
    row = page.get_by_role("row").filter(has_text="production")
    await expect(row).to_contain_text("Offline")
    await page.get_by_role("button", name="Actions for production").click()
    await page.get_by_role("menuitem", name="Disable").click()
    await page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    await expect(row).to_contain_text("Disabled")


async def test_the_page_follows_what_others_do(somebody: Visitor, w: World) -> None:
    """Somebody else registers a key and an agent comes online: both appear without a reload."""
    page = somebody.page
    await page.get_by_role("link", name="API keys").click()
    await expect(page.get_by_role("heading", name="There is no key yet")).to_be_visible()
    await w.console.call("GenerateAPIKey", name="from elsewhere", role=APIKey.READ_ONLY)
    await expect(page.get_by_role("cell", name="from elsewhere")).to_be_visible()
    await page.get_by_role("link", name="Pipeds").click()
    row = page.get_by_role("row").filter(has_text="home")
    await expect(row).to_contain_text("never")
    async with w.agent():
        await expect(page.get_by_text("Online")).to_be_visible()
        await expect(row).to_contain_text("started")
    await expect(page.get_by_text("Offline")).to_be_visible()


async def test_everything_can_be_named_and_reached_by_keyboard(somebody: Visitor, w: World) -> None:
    """Every button and field has a name to be read out; the focus goes through the page."""
    page = somebody.page
    for path in ("/applications", "/applications/add", "/deployments", "/pipeds", "/api-keys"):
        await somebody.go(path)
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        nameless = await page.evaluate(
            """() => [...document.querySelectorAll('button, a[href], input:not([type=hidden]), textarea')]
                .filter((one) => one.checkVisibility() && !one.closest('[aria-hidden=true]'))
                .filter((one) => !(one.ariaLabel || one.innerText?.trim() || one.title || one.labels?.length
                    || one.getAttribute('aria-labelledby') || one.placeholder))
                .map((one) => one.outerHTML.slice(0, 120))"""
        )
        assert nameless == [], path
    await somebody.go("/applications")
    await expect(page.get_by_role("heading", name="No application yet")).to_be_visible()
    reached = set()
    for _ in range(40):
        await page.keyboard.press("Tab")
        name = "document.activeElement?.innerText?.trim() || document.activeElement?.ariaLabel"
        reached.add(await page.evaluate(name))
    assert {"Deployments", "Pipeds", "Add application"} <= reached


async def test_a_narrow_dark_screen_is_served_too(opened: Browser, w: World) -> None:
    async with visitor(opened, w.plane.url, width=420) as made:
        await made.page.emulate_media(color_scheme="dark")
        await made.go("/")
        await made.sign_in()
        await expect(made.page.get_by_role("heading", name="Applications", level=1)).to_be_visible()

        async def fits() -> bool:
            wide = await made.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 1, "the page scrolls sideways"
            return True

        await eventually(fits)
