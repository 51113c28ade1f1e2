"""What a page says of a deployment that waits, of a lost connection, and on a narrow screen."""

import re
import time

import pytest
from playwright.async_api import expect

from pipecd.client import Client
from pipecd.schema.agent.deployments_pb2 import (
    CreateDeploymentRequest,
    ReportDeploymentPlannedRequest,
    ReportDeploymentStatusChangedRequest,
)
from pipecd.schema.agent.pipeds_pb2 import ReportStatRequest
from pipecd.schema.model.artifact_pb2 import ArtifactVersion
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.stage_pb2 import PipelineStage, StageStatus
from tests.console.browser import BrowserUser
from tests.console.seeds import build_deployment, report_repository
from tests.world import World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
#: The longest names of stages, PipeCD's plugins included.
STAGE_NAMES = ("KUBERNETES_CANARY_ROLLOUT", "LAMBDA_CANARY_ROLLOUT", "K8S_TRAFFIC_ROUTING", "WAIT_APPROVAL")
#: The texts of elements below the argument whose content does not fit into them.
CUT_TEXTS = """(group) => [...group.querySelectorAll("[class*=name]")]
  .filter(({ scrollWidth, clientWidth, scrollHeight, clientHeight }) =>
    scrollWidth > clientWidth || scrollHeight > clientHeight + 1)
  .map((element) => element.textContent)"""
#: Until what has arrived is drawn.
TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
#: The colour of each number in the status summary, by label.
SUMMARY_COLOURS = """() => Object.fromEntries(
  [...document.querySelectorAll("[role=group][aria-label$='sync status'] button")].map((card) => {
    const [count, label] = card.children;
    return [label.textContent, getComputedStyle(card).borderLeftColor + getComputedStyle(count).color];
  }))"""


async def seed_deployments(w: World, agent: Client, *, age: int = 60) -> tuple[str, str]:
    """Ids of a deployment, created `age` seconds ago, that waits for approval, and of a later one."""
    await report_repository(agent)
    application_id = await w.register("shop", kind=1)
    now = int(time.time())
    first = build_deployment(w, application_id, "shop", at=now - age)
    first.versions.add(
        kind=ArtifactVersion.GIT_SOURCE, name="https://git.example/shop/functions.git", version="v1.2.0"
    )
    first.versions.add(version="https://git.example/shop/releases/v1.2.0")
    later = build_deployment(w, application_id, "shop", at=now)
    later.id = "later-deployment"
    for deployment in (first, later):
        await agent.call(agent.piped.CreateDeployment, CreateDeploymentRequest(deployment=deployment))
    stages = [
        PipelineStage(
            id=name,
            index=index,
            name=name,
            requires=STAGE_NAMES[index - 1 : index],
            visible=True,
            status=StageStatus.STAGE_SUCCESS,
            created_at=1,
            updated_at=1,
            completed_at=now,
            metadata={"startTime": str(now - 4000)},
        )
        for index, name in enumerate(STAGE_NAMES)
    ]
    stages[-1].status, stages[-1].completed_at = StageStatus.STAGE_RUNNING, 0
    stages[-1].metadata["candidate-url"] = "https://pipecd-abc---shop.run.app"
    await agent.call(
        agent.piped.ReportDeploymentPlanned,
        ReportDeploymentPlannedRequest(
            deployment_id=first.id, stages=stages, versions=first.versions, summary="Sync with the pipeline"
        ),
    )
    await agent.call(
        agent.piped.ReportDeploymentStatusChanged,
        ReportDeploymentStatusChangedRequest(
            deployment_id=first.id, status=DeploymentStatus.DEPLOYMENT_RUNNING
        ),
    )
    return first.id, later.id


async def test_a_deployment_that_waits_says_for_what(user: BrowserUser, w: World, agent: Client) -> None:
    """For an approval, for the agent while it is offline, or for the deployment before it."""
    page = user.page
    waiting, later = await seed_deployments(w, agent)
    await user.go("/deployments")
    row = page.get_by_role("listitem").filter(has=page.locator(f"a[href='/deployments/{waiting}']"))
    await expect(row).to_contain_text("Waiting for approval")
    await expect(row).not_to_contain_text("Running")

    await user.go(f"/deployments/{waiting}")
    candidate = page.get_by_role("link", name="https://pipecd-abc---shop.run.app")
    await expect(candidate).to_have_attribute("href", "https://pipecd-abc---shop.run.app")

    await user.go(f"/deployments/{later}")
    region = page.get_by_role("region", name="Pipeline")
    await expect(region).to_contain_text("Waits for the piped home, which is not online.")
    await agent.call(agent.piped.ReportStat, ReportStatRequest(piped_stats=b"# none\n"))
    await page.reload()
    await expect(region).to_contain_text("Waits until the deployment before it has ended")
    await expect(region).to_contain_text("which is waiting for approval")
    await region.get_by_role("link", name="deployment before it").click()

    await expect(page).to_have_url(re.compile(f"/deployments/{waiting}$"))
    header = page.locator("header").filter(has=page.get_by_role("heading", level=1))
    await expect(header).to_contain_text("Waiting for approval")
    stages = page.get_by_role("group", name="Pipeline stages")
    await expect(stages.get_by_role("button", name="Waiting for approval")).to_contain_text("WAIT_APPROVAL")

    await expect(stages.get_by_role("button")).to_have_count(len(STAGE_NAMES))
    assert await stages.evaluate(CUT_TEXTS) == []
    details = page.get_by_role("region", name="Details")
    await expect(details).to_contain_text("shop/functions v1.2.0")
    await expect(details).not_to_contain_text("https://")
    await expect(details.get_by_role("link", name="releases/v1.2.0")).to_be_visible()


async def test_each_sync_status_has_its_colour_in_both_schemes(
    user: BrowserUser, w: World, agent: Client
) -> None:
    page = user.page
    await report_repository(agent)
    await w.register("shop", kind=1)
    await user.go("/")
    summary = page.get_by_role("group", name="Applications by sync status")
    await expect(summary.get_by_role("button", name=re.compile("Unknown"))).to_contain_text("1")
    # Without an application a card is grey; remove that, to compare the colours of all.
    await summary.evaluate("(group) => [...group.children].forEach((card) => delete card.dataset.empty)")
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        colours = await page.evaluate(SUMMARY_COLOURS)
        assert len(colours) == len(set(colours.values())) == 6, (scheme, colours)


async def test_a_lost_connection_is_shown_with_the_age_of_the_page(
    user: BrowserUser, w: World, agent: Client
) -> None:
    page = user.page
    await report_repository(agent)
    await w.register("shop", kind=1)
    await user.go("/")
    await expect(page.get_by_role("link", name="shop")).to_be_visible()
    await expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    await page.route("**/*", lambda route: route.abort())
    await page.context.set_offline(True)
    alert = page.get_by_role("alert").filter(has_text="The control plane does not answer")
    await expect(alert).to_contain_text(re.compile(r"shows the state of \d\d:\d\d:\d\d"))
    await expect(page.get_by_role("link", name="shop")).to_be_visible()
    await page.unroute_all()
    await page.context.set_offline(False)
    await expect(alert).to_have_count(0)
    await expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    user.errors.clear()


async def test_a_copy_button_is_beside_its_text(user: BrowserUser, w: World) -> None:
    page = user.page
    await user.go("/pipeds")
    await page.get_by_role("button", name="Register piped").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("textbox", name="Name").fill("second")
    await dialog.get_by_role("button", name="Register").click()
    blocks = page.get_by_role("dialog").get_by_role("region")
    await expect(blocks.first).to_be_visible()
    for block in await blocks.all():
        text = await block.bounding_box()
        button = await block.locator("xpath=..").get_by_role("button").bounding_box()
        assert text and button and button["x"] >= text["x"] + text["width"]


async def test_pages_and_dialogs_outlast_an_outage(user: BrowserUser, w: World, agent: Client) -> None:
    """A page keeps what it shows, a dialog what was typed; a page that was not loaded is loaded later."""
    page = user.page
    waiting, later = await seed_deployments(w, agent)
    await user.go(f"/compare?from={waiting}&to={later}")
    properties = page.get_by_role("table", name="Properties")
    await expect(properties).to_be_visible()
    # An error that is not tried again.
    await page.route("**/GetDeployment", lambda route: route.fulfill(status=400))
    async with page.expect_response("**/GetDeployment"):
        await page.context.set_offline(True)
        await page.context.set_offline(False)
    await page.evaluate(TWO_FRAMES)
    await expect(properties).to_be_visible()

    await page.unroute_all()
    await page.get_by_role("link", name="Pipeds", exact=True).click()
    await page.get_by_role("button", name="Register piped").click()
    dialog = page.get_by_role("dialog", name="Register piped")
    await dialog.get_by_role("textbox", name="Name").fill("second")
    await dialog.get_by_role("textbox", name="Description").fill("typed by hand")
    await page.route("**/*", lambda route: route.abort())
    await page.context.set_offline(True)
    await expect(page.get_by_role("status").filter(has_text="Disconnected")).to_be_visible()
    await dialog.get_by_role("button", name="Register").click()
    await expect(dialog.get_by_role("alert")).to_have_text("The control plane does not answer.")
    await expect(dialog.get_by_role("textbox", name="Name")).to_have_value("second")
    await expect(dialog.get_by_role("textbox", name="Description")).to_have_value("typed by hand")
    await dialog.get_by_role("button", name="Close").click()
    await page.get_by_role("link", name="Chains", exact=True).click()
    await expect(page.get_by_role("heading", name="This page could not be loaded")).to_be_visible()

    await page.unroute_all()
    await page.context.set_offline(False)
    await expect(page.get_by_role("heading", name="Chains", level=1)).to_be_visible()
    user.errors.clear()
