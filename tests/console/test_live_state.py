"""What runs, as a tree, and where it differs from Git: as an agent tells it, in a real browser."""

import time
from collections.abc import Sequence

import pytest
from playwright.async_api import expect

from pipecd.client import Client
from pipecd.model.application import Application, ApplicationKind, GitPath
from pipecd.model.resource import Health, Resource
from pipecd.schema.agent.applications_pb2 import ReportApplicationSyncStateRequest
from pipecd.schema.agent.live_state_pb2 import ReportApplicationLiveStateRequest
from pipecd.schema.model.application_pb2 import ApplicationSyncState, ApplicationSyncStatus
from pipecd.schema.model.kind_pb2 import TERRAFORM
from pipecd.wire import snapshot_to
from tests.console.browser import Visitor
from tests.console.seeds import repository
from tests.controlplane.server_fixture import PROJECT
from tests.eventually import eventually
from tests.world import World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]


@pytest.fixture
async def shop(w: World, agent: Client) -> str:
    """An application of which only the test tells anything."""
    await repository(agent)
    return await w.registered("shop", kind=TERRAFORM)


async def report(w: World, agent: Client, shop: str, resources: Sequence[Resource]) -> None:
    application = Application(
        id=shop,
        name="shop",
        piped_id=w.piped_id,
        project_id=PROJECT,
        kind=ApplicationKind.LAMBDA,
        git_path=GitPath(repo_id="app", path="shop"),
    )
    snapshot = snapshot_to(application, resources, now=int(time.time()))
    await agent.call(
        agent.piped.ReportApplicationLiveState, ReportApplicationLiveStateRequest(snapshot=snapshot)
    )


async def tell(agent: Client, shop: str, status: ApplicationSyncStatus, short: str, reason: str = "") -> None:
    state = ApplicationSyncState(
        status=status, short_reason=short, reason=reason or short, timestamp=int(time.time())
    )
    request = ReportApplicationSyncStateRequest(application_id=shop, state=state)
    await agent.call(agent.piped.ReportApplicationSyncState, request)


async def test_what_runs_is_a_tree_that_follows_what_happens(
    somebody: Visitor, w: World, agent: Client, shop: str
) -> None:
    page = somebody.page
    await somebody.go(f"/applications/{shop}")
    await expect(page.get_by_role("heading", name="State", exact=True)).to_be_visible()
    function = Resource(id="f", kind="Function", name="hello", health=Health.HEALTHY)
    alias = Resource(id="a", kind="Alias", name="Service", parents=("f",), health=Health.HEALTHY)
    await report(w, agent, shop, [alias, function])
    live = page.get_by_role("region", name="Live state")
    await expect(live.get_by_role("list", name="Resources")).to_match_aria_snapshot(
        """
        - list "Resources":
          - listitem:
            - text: Healthy
            - paragraph: Function
            - paragraph: hello
            - list "Below hello":
              - listitem:
                - text: Healthy
                - paragraph: Alias
                - paragraph: Service
        """
    )

    why = "10 % to version 7, which fails to start"
    broken = Resource(id="v", kind="Version", name="7", parents=("a",), health=Health.UNHEALTHY, why=why)
    await report(w, agent, shop, [function, alias, broken])
    below = live.get_by_role("list", name="Below Service").get_by_role("listitem")
    await expect(below).to_have_count(1)
    await expect(below).to_contain_text("Unhealthy")
    await expect(below).to_contain_text(why)
    await report(w, agent, shop, [])
    await expect(live).to_contain_text("Nothing runs of this application.")
    await expect(live.get_by_role("listitem")).to_have_count(0)


async def test_drift_is_shown_line_by_line(somebody: Visitor, w: World, agent: Client, shop: str) -> None:
    page = somebody.page
    state = page.get_by_role("region", name="State", exact=True)
    await somebody.go(f"/applications/{shop}")
    await tell(agent, shop, ApplicationSyncStatus.SYNCED, "What runs is what Git describes")
    await expect(state).to_contain_text("Synced")
    diff = "1 difference from Git\n\n--- running\n+++ Git\n- memorySize: 128\n+ memorySize: 256\n  timeout: 3"
    await tell(agent, shop, ApplicationSyncStatus.OUT_OF_SYNC, "1 difference from Git", diff)
    await expect(state).to_contain_text("Out of sync")
    running, git, same = (
        state.get_by_text(line, exact=True)
        for line in ("- memorySize: 128", "+ memorySize: 256", "timeout: 3")
    )
    await expect(same).to_be_visible()

    async def told_apart() -> bool:
        colour = "one => getComputedStyle(one).backgroundColor"
        painted = {str(await line.evaluate(colour)) for line in (running, git, same)}
        assert len(painted) == 3, "the two sides and what they share look alike"
        return True

    await eventually(told_apart)
    await tell(agent, shop, ApplicationSyncStatus.SYNCED, "What runs is what Git describes")
    await expect(state).to_contain_text("Synced")
    await expect(git).to_have_count(0)


async def test_what_no_agent_has_told_of_is_no_error(somebody: Visitor, w: World, shop: str) -> None:
    """The browser's own console stays empty too: `somebody` sees to it."""
    page = somebody.page
    async with page.expect_response("**/SeeLiveState") as answered:
        await somebody.go(f"/applications/{shop}")
    assert (await answered.value).ok
    await expect(page.get_by_role("heading", name="Deployments")).to_be_visible()
    await expect(page.get_by_role("heading", name="Live state")).to_have_count(0)
