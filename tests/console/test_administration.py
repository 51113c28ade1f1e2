"""Actions on applications, agents and keys in the console."""

import re

import pytest
from playwright.async_api import expect

from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.project_pb2 import Project, ProjectStaticUser
from pipecd.schema.model.strategy_pb2 import PIPELINE, QUICK_SYNC
from tests.actors import TESTER
from tests.console.axe import expect_no_findings
from tests.console.browser import BrowserUser
from tests.controlplane.server_fixture import PASSWORD_HASH, USER
from tests.world import World, pipeline

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]


async def test_sync_uses_the_selected_strategy(user: BrowserUser, w: World) -> None:
    """The notification links to the deployment, which is planned with the requested strategy."""
    page = user.page
    async with w.agent():
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline("echo hello")})
        await w.wait_for_deployment(app)
        for item, strategy in (("Quick sync", QUICK_SYNC), ("Pipeline sync", PIPELINE)):
            await user.go(f"/applications/{app}")
            await page.get_by_role("button", name="Sync options").click()
            await page.get_by_role("menuitem", name=re.compile(f"^{item}")).click()
            await page.get_by_role("link", name="View deployment").click()
            await expect(page).to_have_url(re.compile("/deployments/[^/]+$"))
            await expect(page.locator("header").get_by_text("Succeeded")).to_be_visible()
            deployment = await w.deployment(page.url.rpartition("/")[2])
            assert deployment.application_id == app
            assert (deployment.trigger.commander, deployment.trigger.sync_strategy) == ("hello", strategy)


async def test_an_application_is_disabled_enabled_and_deleted(user: BrowserUser, w: World) -> None:
    page = user.page

    async def select_action(item: str) -> None:
        await page.get_by_role("button", name="More actions").click()
        await page.get_by_role("menuitem", name=item).click()
        await page.get_by_role("dialog").get_by_role("button", name=item, exact=True).click()

    async with w.agent():
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline("true")})
        await w.wait_for_deployment(app)
        await user.go(f"/applications/{app}")
        sync = page.get_by_role("button", name="Sync", exact=True)
        await select_action("Disable")
        await expect(sync).to_be_disabled()
        await select_action("Enable")
        await expect(sync).to_be_enabled()
        await select_action("Delete")
        await expect(page).to_have_url(re.compile("/applications$"))
        await expect(page.get_by_role("link", name="shop", exact=True)).to_have_count(0)
        await user.go(f"/applications/{app}")
        await expect(page.get_by_role("heading", name="This application was deleted")).to_be_visible()


async def test_an_agents_key_is_rotated(user: BrowserUser, w: World) -> None:
    """A second key is key_dialog once; after the first is deleted, a third may be added."""
    page = user.page

    async def select_action(item: str) -> None:
        await page.get_by_role("button", name="Actions for home").click()
        await page.get_by_role("menuitem", name=item).click()

    async def count_keys() -> int:
        response = await w.console.call("GetPiped", piped_id=w.piped_id)
        return len(response.piped.keys)

    await user.go("/pipeds")
    await select_action("Add key")
    await page.get_by_role("dialog").get_by_role("button", name="Create key").click()
    key_dialog = page.get_by_role("dialog", name="Key for home", exact=True)
    await expect(key_dialog).to_contain_text(f"pipedID: {w.piped_id}")
    assert await count_keys() == 2
    await key_dialog.get_by_role("button", name="I have copied the key").click()
    await page.get_by_role("button", name="Actions for home").click()
    await expect(page.get_by_role("menuitem", name="Add key")).to_be_disabled()
    menu = page.get_by_role("menu")
    await menu.press("Escape")
    await expect(menu).to_have_count(0)
    await select_action("Delete old key")
    confirm_dialog = page.get_by_role("dialog", name="Delete the old key of home?")
    await confirm_dialog.get_by_role("button", name="Delete", exact=True).click()
    await expect(confirm_dialog).to_have_count(0)
    assert await count_keys() == 1
    await page.get_by_role("button", name="Actions for home").click()
    await expect(page.get_by_role("menuitem", name="Add key")).to_be_enabled()


async def test_an_api_key_is_created_and_disabled(user: BrowserUser, w: World) -> None:
    page = user.page
    await user.go("/api-keys")
    await page.get_by_role("button", name="Create key").first.click()
    await page.get_by_role("dialog").get_by_label("Name").fill("ci")
    await page.get_by_role("dialog").get_by_label("Valid for").select_option("90 days")
    await page.get_by_role("dialog").get_by_role("button", name="Create", exact=True).click()
    key_dialog = page.get_by_role("dialog", name="New API key")
    await expect(key_dialog).to_contain_text("This key is shown only once")
    await key_dialog.get_by_role("button", name="I have copied the key").click()
    row = page.get_by_role("row").filter(has_text="ci")
    await expect(row).to_contain_text("in 2 months")
    await row.get_by_role("button", name="Disable").click()
    await page.get_by_role("dialog").get_by_role("button", name="Disable", exact=True).click()
    await expect(row).to_contain_text("Disabled")
    response = await w.console.call("ListAPIKeys")
    assert [(key.name, key.disabled) for key in response.keys] == [("ci", True)]
    assert response.keys[0].expires_at - response.keys[0].created_at == 90 * 24 * 3600


async def test_receivers_of_a_project_are_added_changed_and_tested(guest: BrowserUser, w: World) -> None:
    admin = ProjectStaticUser(username=USER, password_hash=PASSWORD_HASH)
    store = w.plane.server.services.store
    await store.create(Project(id="team", desc="The team", static_admin=admin), by=TESTER)
    await store.create(Piped(id="piped-of-team", name="home", project_id="team"), by=TESTER)
    page = guest.page
    await guest.go("/settings")
    await guest.sign_in(project="team")
    section = page.get_by_role("region", name="Notifications")
    await expect(section).to_contain_text("The project has no receivers")
    await section.get_by_role("button", name="Add receiver").click()
    dialog = page.get_by_role("dialog", name="Add receiver")
    add = dialog.get_by_role("button", name="Add", exact=True)
    await expect(add).to_be_disabled()
    await dialog.get_by_label("Name", exact=False).first.fill("on-call")
    for type_ in ("Slack", "E-mail", "Webhook"):
        await dialog.get_by_text(type_, exact=True).click()
        await expect(dialog.get_by_role("radio", name=type_)).to_be_checked()
        # The component library's dialogs have a `<header>`, which axe takes for that of the page.
        await expect_no_findings(page, within="[role=dialog]", ignored=["landmark-no-duplicate-banner"])
    await dialog.get_by_label("URL").fill("http://127.0.0.1:1/secret-path")
    await add.click()
    item = section.get_by_role("listitem").filter(has_text="on-call")
    await expect(item).to_contain_text("Webhook · 127.0.0.1")
    await item.get_by_role("button", name="Send test message to on-call").click()
    await expect(item).to_contain_text("has the address 127.0.0.1, which the control plane does not call")
    await expect(item).to_contain_text("Failing")

    await item.get_by_role("button", name="Edit on-call").click()
    dialog = page.get_by_role("dialog", name="Receiver on-call")
    await expect(dialog.get_by_label("URL")).to_have_value("")
    await dialog.get_by_label("Format").select_option("cloudevents")
    await dialog.get_by_label("Events").select_option("Offline only")
    await dialog.get_by_role("combobox", name="Pipeds").click()
    await page.get_by_role("option", name="home").click()
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog).to_have_count(0)
    receiver = (await store.get(Project, "team")).message.receivers[0]
    stored = receiver.webhook
    assert stored.format == "cloudevents" and stored.url and "secret-path" not in stored.url
    assert (list(receiver.events), list(receiver.piped_ids)) == (["PIPED_OFFLINE"], ["piped-of-team"])
    await expect(item).to_contain_text("offline only · 1 piped")
    await item.get_by_role("button", name="Delete on-call").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(section).to_contain_text("The project has no receivers")
    # The browser reports the refused call.
    guest.errors[:] = [error for error in guest.errors if "TestProjectReceiver" not in error]
