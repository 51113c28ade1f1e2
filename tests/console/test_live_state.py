"""Live state as a picture and as a list, and drift as a diff, as reported by an agent."""

import time
from collections.abc import Sequence

import pytest
import pytest_asyncio
from playwright.async_api import expect

from pipecd.client import Client
from pipecd.model.application import Application, GitPath
from pipecd.model.resource import Health, Resource
from pipecd.schema.agent.applications_pb2 import ReportApplicationSyncStateRequest
from pipecd.schema.agent.live_state_pb2 import ReportApplicationLiveStateRequest
from pipecd.schema.model.application_pb2 import ApplicationSyncState, ApplicationSyncStatus
from pipecd.schema.model.kind_pb2 import TERRAFORM
from pipecd.wire import snapshot_to
from tests.console.browser import BrowserUser
from tests.console.seeds import report_repository
from tests.controlplane.server_fixture import PROJECT
from tests.eventually import eventually
from tests.world import World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]


@pytest_asyncio.fixture(loop_scope="session")
async def shop(w: World, agent: Client) -> str:
    """The ID of an application whose state only the test reports."""
    await report_repository(agent)
    return await w.register("shop", kind=TERRAFORM)


async def report_live_state(w: World, agent: Client, shop: str, resources: Sequence[Resource]) -> None:
    application = Application(
        id=shop,
        name="shop",
        piped_id=w.piped_id,
        project_id=PROJECT,
        kind="LAMBDA",
        git_path=GitPath(repo_id="app", path="shop"),
    )
    snapshot = snapshot_to(application, resources, now=int(time.time()))
    await agent.call(
        agent.piped.ReportApplicationLiveState, ReportApplicationLiveStateRequest(snapshot=snapshot)
    )


async def report_sync_state(
    agent: Client, shop: str, status: ApplicationSyncStatus.ValueType, short: str, reason: str = ""
) -> None:
    state = ApplicationSyncState(
        status=status, short_reason=short, reason=reason or short, timestamp=int(time.time())
    )
    request = ReportApplicationSyncStateRequest(application_id=shop, state=state)
    await agent.call(agent.piped.ReportApplicationSyncState, request)


async def test_live_state_is_a_tree_that_follows_changes(
    user: BrowserUser, w: World, agent: Client, shop: str
) -> None:
    page = user.page
    await user.go(f"/applications/{shop}")
    await expect(page.get_by_role("heading", name="Sync status", exact=True)).to_be_visible()
    function = Resource(id="f", kind="Function", name="hello", health=Health.HEALTHY)
    alias = Resource(id="a", kind="Alias", name="Service", parents=("f",), health=Health.HEALTHY)
    await report_live_state(w, agent, shop, [alias, function])
    live = page.get_by_role("region", name="Live state")
    await live.get_by_role("button", name="Service Alias, Healthy").click()
    details = page.get_by_role("dialog")
    await details.get_by_role("button", name="Function hello").click()
    await expect(details).to_contain_text("Alias Service")
    await expect(details.get_by_role("alert")).to_contain_text("Piped home is not connected")
    await details.get_by_role("button", name="Close").click()
    # The agent is not online, so its details of the resources are missing.
    user.errors[:] = [error for error in user.errors if "SeeResource" not in error]
    await live.get_by_text("List", exact=True).click()
    await expect(live.get_by_role("list", name="Resources")).to_match_aria_snapshot(
        """
        - list "Resources":
          - listitem:
            - text: Healthy
            - button "hello"
            - paragraph: Function
            - list "Children of hello":
              - listitem:
                - text: Healthy
                - button "Service"
                - paragraph: Alias
        """
    )

    reason = "10 % to version 7, which fails to start"
    unhealthy = Resource(
        id="v", kind="Version", name="7", parents=("a",), health=Health.UNHEALTHY, health_reason=reason
    )
    await report_live_state(w, agent, shop, [function, alias, unhealthy])
    children = live.get_by_role("list", name="Children of Service").get_by_role("listitem")
    await expect(children).to_have_count(1)
    await expect(children).to_contain_text("Unhealthy")
    await expect(children).to_contain_text(reason)
    await report_live_state(w, agent, shop, [])
    await expect(live).to_contain_text("No resources of this application are running.")
    await expect(live.get_by_role("listitem")).to_have_count(0)


async def test_drift_is_shown_line_by_line(user: BrowserUser, w: World, agent: Client, shop: str) -> None:
    page = user.page
    sync_status = page.get_by_role("region", name="Sync status", exact=True)
    await user.go(f"/applications/{shop}")
    await report_sync_state(agent, shop, ApplicationSyncStatus.SYNCED, "What runs is what Git describes")
    await expect(sync_status).to_contain_text("What runs is what Git describes")
    diff = "1 difference from Git\n\n--- running\n+++ Git\n- memorySize: 128\n+ memorySize: 256\n  timeout: 3"
    await report_sync_state(agent, shop, ApplicationSyncStatus.OUT_OF_SYNC, "1 difference from Git", diff)
    await expect(page.get_by_role("main")).to_contain_text("Out of sync")
    running, git, same = (
        sync_status.locator(".cm-deletedLine, .cm-line").filter(has_text=line)
        for line in ("memorySize: 128", "memorySize: 256", "timeout: 3")
    )
    await expect(same).to_be_visible()

    async def sides_differ() -> bool:
        colour = """element => [element, element.parentElement].map((part) =>
          getComputedStyle(part).backgroundColor).find((text) => !text.endsWith(", 0)"))"""
        colours = {str(await line.evaluate(colour)) for line in (running, git, same)}
        assert len(colours) == 3, "both sides and unchanged lines have different colours"
        return True

    await eventually(sides_differ)
    await report_sync_state(agent, shop, ApplicationSyncStatus.SYNCED, "What runs is what Git describes")
    await expect(sync_status).to_contain_text("What runs is what Git describes")
    await expect(git).to_have_count(0)


async def test_a_missing_live_state_is_not_an_error(user: BrowserUser, w: World, shop: str) -> None:
    """Nor does it log an error in the browser's own console, which the `user` fixture checks."""
    page = user.page
    async with page.expect_response("**/SeeLiveState") as response:
        await user.go(f"/applications/{shop}")
    assert (await response.value).ok
    await expect(page.get_by_role("heading", name="Deployments")).to_be_visible()
    await expect(page.get_by_role("heading", name="Live state")).to_have_count(0)
