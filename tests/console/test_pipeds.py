"""Upgrading and restarting agents in the console."""

import asyncio
import re
import time
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

from pipecd.client import Client, PipedToken, Transport, connect
from pipecd.controlplane.settings import Settings, WatchSettings
from pipecd.schema.agent.pipeds_pb2 import GetDesiredVersionRequest, ReportPipedMetaRequest
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.pipecd.v1.agent_pb2 import AgentChange, AgentWatchRequest, BeatRequest
from pipecd.schema.pipecd.v1.notifications_pb2 import ReceiverStatus, ReportReceiversRequest
from tests.actors import TESTER
from tests.console.axe import expect_no_findings
from tests.console.browser import BrowserUser, SharedContext
from tests.controlplane.server_fixture import PROJECT
from tests.world import World, world

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]


async def select_action(page: Page, piped: str, item: str) -> None:
    await page.get_by_role("button", name=f"Actions for {piped}").click()
    await page.get_by_role("menuitem", name=item).click()


def row(page: Page, piped: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("button", name=f"Actions for {piped}"))


async def test_an_upgrade_is_requested_and_shown_until_it_is_complete(
    user: BrowserUser, w: World, agent: Client
) -> None:
    """From the row's menu, with a version that the control plane does not offer."""
    page = user.page
    staging = await w.console.call("RegisterPiped", name="staging")
    await agent.call(agent.piped.ReportPipedMeta, ReportPipedMetaRequest(version="0.1.0"))
    await user.go("/pipeds")
    await select_action(page, "home", "Upgrade")
    dialog = page.get_by_role("dialog", name="Upgrade pipeds")
    await expect(dialog).to_contain_text("without the launcher is not upgraded")
    await expect(dialog.get_by_role("checkbox", name="home")).to_be_checked()
    await expect(dialog.get_by_role("checkbox", name="staging")).not_to_be_checked()
    await dialog.get_by_label("Version").fill("9.9.9")
    await dialog.get_by_role("button", name="Upgrade", exact=True).click()
    await expect(dialog).to_have_count(0)
    home = row(page, "home")
    await expect(home.get_by_role("status")).to_contain_text("Upgrading to v9.9.9…")
    await expect(row(page, "staging").get_by_role("status")).to_have_count(0)
    desired = await agent.call(agent.piped.GetDesiredVersion, GetDesiredVersionRequest())
    assert desired.version == "v9.9.9", "the version its launcher requests"
    assert (await w.console.call("GetPiped", piped_id=staging.id)).piped.desired_version == ""

    await agent.call(agent.piped.ReportPipedMeta, ReportPipedMetaRequest(version="9.9.9"))
    await expect(home.get_by_role("status")).to_have_count(0)
    await expect(home.get_by_role("cell", name="9.9.9", exact=True)).to_be_visible()


async def test_an_agent_whose_event_loop_is_blocked_is_shown_as_not_responding(
    shared_context: SharedContext, console_port: int, tmp_path: Path
) -> None:
    """It is connected, but sends no heartbeats."""
    settings = Settings(watch=WatchSettings(response_timeout=0.5))
    async with (
        world(tmp_path, ports=(0, console_port), settings=settings) as w,
        shared_context.open(w.plane.url) as user,
    ):
        token = PipedToken(project_id=PROJECT, piped_id=w.piped_id, key=w.key)
        agent = await connect(w.plane.address, token, Transport(insecure=True))
        stream = agent.stream(agent.agent.Watch, AgentWatchRequest(instance="blocked"))
        assert (await anext(stream)).kind == AgentChange.LEASE_GRANTED
        await agent.call(agent.agent.Beat, BeatRequest(instance="blocked"))
        await user.go("/pipeds")
        await user.sign_in()
        await expect(row(user.page, "home")).to_contain_text("Not responding")
        await stream.aclose()
        await agent.close()


async def test_several_agents_are_upgraded_to_an_offered_version(user: BrowserUser, w: World) -> None:
    """Initially all enabled agents are selected; one is deselected."""
    page = user.page
    for name in ("production", "staging", "retired"):
        piped = await w.console.call("RegisterPiped", name=name)
    await w.console.call("DisablePiped", piped_id=piped.id)
    (released,) = (await w.console.call("ListReleasedVersions")).versions
    await user.go("/pipeds")
    await expect(row(page, "retired")).to_contain_text("Disabled")
    await page.get_by_role("button", name="Upgrade pipeds").click()
    dialog = page.get_by_role("dialog", name="Upgrade pipeds")
    version = dialog.get_by_label("Version")
    await expect(version).to_have_value(released)
    await version.fill("v")
    await page.get_by_role("option", name=released).click()
    await expect(version).to_have_value(released)
    await expect(dialog.get_by_role("checkbox", name="retired")).not_to_be_checked()
    await dialog.get_by_role("checkbox", name="production").uncheck()
    await dialog.get_by_role("button", name="Upgrade 2 pipeds").click()
    await expect(dialog).to_have_count(0)
    await expect(row(page, "staging").get_by_role("status")).to_contain_text(f"Upgrading to {released}…")
    pipeds = (await w.console.call("ListPipeds")).pipeds
    desired_versions = {piped.name: piped.desired_version for piped in pipeds}
    assert desired_versions == {"home": released, "staging": released, "production": "", "retired": ""}


async def test_the_upgrade_dialog_accepts_a_typed_version_without_releases(
    user: BrowserUser, w: World
) -> None:
    """The list of releases is optional; a version and at least one agent are required."""
    page = user.page
    await page.route("**/ListReleasedVersions", lambda route: route.fulfill(body=b""))
    await user.go("/pipeds")
    await select_action(page, "home", "Upgrade")
    dialog = page.get_by_role("dialog", name="Upgrade pipeds")
    upgrade = dialog.get_by_role("button", name="Upgrade", exact=True)
    await expect(dialog.get_by_label("Version")).to_have_value("")
    await expect(upgrade).to_be_disabled()
    await dialog.get_by_label("Version").fill("v1.2.3")
    await expect(upgrade).to_be_enabled()

    def report(record: Piped) -> None:
        record.version, record.package = "0.1.0", "pipecd"

    await w.plane.server.services.store.update(Piped, w.piped_id, report, by=TESTER)
    await dialog.get_by_label("Version").fill("v0.0.9")
    await expect(upgrade).to_be_disabled()
    await dialog.get_by_label("Allow a downgrade of home").check()
    await expect(upgrade).to_be_enabled()
    await dialog.get_by_role("checkbox", name="home", exact=True).uncheck()
    await expect(upgrade).to_be_disabled()
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(dialog).to_have_count(0)
    assert (await w.console.call("GetPiped", piped_id=w.piped_id)).piped.desired_version == ""


async def test_an_agent_is_restarted(user: BrowserUser, w: World) -> None:
    page = user.page
    async with w.agent() as running:
        await user.go("/pipeds")
        await expect(row(page, "home")).to_contain_text("Online")
        await select_action(page, "home", "Restart")
        confirm_dialog = page.get_by_role("dialog", name="Restart home?")
        await confirm_dialog.get_by_role("button", name="Restart", exact=True).click()
        await expect(page.get_by_role("alert").filter(has_text="Restart home")).to_contain_text(
            re.compile("The piped is restarting")
        )
        await asyncio.wait_for(running, 120)
    await expect(row(page, "home")).to_contain_text("Offline")


async def test_receivers_of_notifications_show_their_last_results(user: BrowserUser, agent: Client) -> None:
    """A test message to a piped that is not connected fails, and says why."""
    page, now = user.page, int(time.time())
    working = ReceiverStatus(name="deployments", type="slack", succeeded_at=now - 60, failed_at=now - 9000)
    working.error = "slack.com answered 503"
    failing = ReceiverStatus(name="on-call", type="email", failed_at=now - 60, waiting=2)
    failing.error = "smtp.example.com:587 answered 535: authentication failed"
    unused = ReceiverStatus(name="audit", type="webhook")
    await user.go("/pipeds")
    await select_action(page, "home", "Notifications")
    dialog = page.get_by_role("dialog", name="Notifications of home")
    await expect(dialog).to_contain_text("The piped has no receivers")
    request = ReportReceiversRequest(receivers=[working, failing, unused])
    await agent.call(agent.agent.ReportReceivers, request)
    items = dialog.get_by_role("list", name="Receivers").get_by_role("listitem")
    await expect(items).to_have_count(3)
    await expect(items.nth(0)).to_contain_text("Working")
    await expect(items.nth(1)).to_contain_text("Failing")
    await expect(items.nth(1)).to_contain_text("2 messages wait")
    await expect(items.nth(1)).to_contain_text("answered 535: authentication failed")
    await expect(items.nth(2)).to_contain_text("Not used yet")
    await expect_no_findings(page)
    await items.nth(2).get_by_role("button", name="Send test message to audit").click()
    await expect(items.nth(2).get_by_role("status")).to_contain_text("The piped is not connected")
    # The browser reports the refused call.
    (error,) = user.errors
    assert "TestReceiver" in error
    user.errors.clear()
