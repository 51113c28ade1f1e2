"""Notifications of the browser: asked for by a click, once over several tabs, also in the background."""

from typing import Any

import pytest
from playwright.async_api import Browser, expect

from pipecd.client import Client
from pipecd.schema.agent.deployments_pb2 import ReportDeploymentCompletedRequest
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from tests.console.axe import expect_no_findings
from tests.console.browser import BrowserUser, open_console
from tests.console.test_states import seed_deployments
from tests.eventually import eventually
from tests.world import World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
#: Stands for the browser's part, which a browser without a window denies: the permission, and what it shows.
BROWSER = """
  window.Notification = class extends EventTarget {
    constructor(title, { tag }) { super(); record({ title, tag }); }
    static get permission() { return localStorage.getItem("permission") ?? "default"; }
    static async requestPermission() {
      record({ title: "asked" });
      localStorage.setItem("permission", "granted");
      return "granted";
    }
  };
"""
#: Whether so many tabs hold the lock of the one that notifies, and wait for it.
LOCKS = """async ([held, pending]) => {
  const locks = await navigator.locks.query();
  return locks.held.length === held && locks.pending.length === pending;
}"""


async def test_approvals_and_ends_are_notified_once_over_several_tabs(
    browser: Browser, w: World, agent: Client
) -> None:
    # What is added to a context cannot be removed from it.
    async with open_console(browser, w.plane.url) as user:
        await user.has_roles(w.plane, "Admin")
        await expect_notices(user, w, agent)


async def expect_notices(user: BrowserUser, w: World, agent: Client) -> None:
    page = user.page
    shown: list[Any] = []
    await page.context.expose_binding("record", lambda _, notice: shown.append(notice))
    await page.context.add_init_script(BROWSER)
    await user.go("/")
    other = await page.context.new_page()
    await other.goto(f"{user.base}/deployments")

    await page.get_by_role("button", name="Signed in as").click()
    assert shown == []
    await page.get_by_role("menuitem", name="Browser notifications…").click()
    dialog = page.get_by_role("dialog", name="Browser notifications")
    await dialog.get_by_role("switch", name="Notify me in this browser").check()
    await expect(dialog.get_by_role("checkbox", name="Approvals")).to_be_checked()
    await expect_no_findings(page)
    await dialog.get_by_role("button", name="Close").click()
    # One of the tabs notifies, and the other one waits to take over.
    await other.wait_for_function(LOCKS, arg=[1, 1], polling=50)
    assert [notice["title"] for notice in shown] == ["asked"]

    waiting, _ = await seed_deployments(w, agent, age=-60)
    await expect(other.get_by_role("link", name="shop").first).to_be_visible()

    async def titles_are(*titles: str) -> bool:
        assert [notice["title"] for notice in shown[1:]] == list(titles)
        return True

    approval = "shop waits for your approval"
    await eventually(lambda: titles_are(approval))
    await page.get_by_role("link", name="shop").first.click()
    await page.get_by_role("button", name="Favourite shop").click()

    await page.close()
    # The other tab takes over.
    await other.wait_for_function(LOCKS, arg=[1, 0], polling=50)
    await agent.call(
        agent.piped.ReportDeploymentCompleted,
        ReportDeploymentCompletedRequest(
            deployment_id=waiting,
            status=DeploymentStatus.DEPLOYMENT_FAILURE,
            status_reason="stage failed",
            completed_at=2_000_000_000,
        ),
    )
    await eventually(lambda: titles_are(approval, "Deployment of shop failed"))
