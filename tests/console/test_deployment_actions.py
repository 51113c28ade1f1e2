"""Actions on a running deployment: cancelling with and without rollback, and skipping a stage."""

import json
import re
import time
from typing import Any

import pytest
from playwright.async_api import Page, expect

from pipecd.client import Client
from pipecd.schema.agent.commands_pb2 import ListUnhandledCommandsRequest, ReportCommandHandledRequest
from pipecd.schema.agent.deployments_pb2 import (
    CreateDeploymentRequest,
    ReportDeploymentPlannedRequest,
    ReportDeploymentStatusChangedRequest,
    ReportStageStatusChangedRequest,
    SaveStageMetadataRequest,
)
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.kind_pb2 import TERRAFORM
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.stage_pb2 import PipelineStage, StageStatus
from tests.actors import TESTER
from tests.console.browser import BrowserUser
from tests.console.layout import expect_sound_layout
from tests.console.seeds import build_deployment, report_repository
from tests.eventually import eventually
from tests.world import World, pipeline

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
#: A stage whose rollback writes to its log.
SCRIPT_WITH_ROLLBACK = {"name": "SCRIPT_RUN", "with": {"run": "true", "onRollback": "echo put back"}}
WAIT = {"name": "WAIT", "with": {"duration": "10m"}}


async def open_waiting_deployment(user: BrowserUser, w: World, **spec: Any) -> Page:
    """Opens the page of a deployment that is waiting in its second stage. An earlier deployment succeeded."""
    page = user.page
    planner = {"alwaysUsePipeline": True}
    app = await w.add_application("shop", {"app.pipecd.yaml": pipeline("true", planner=planner)})
    await w.wait_for_deployment(app)
    file = pipeline(SCRIPT_WITH_ROLLBACK, WAIT, planner=planner, **spec)
    commit = await w.push("Add a WAIT stage", {"shop/app.pipecd.yaml": file})

    async def waiting_deployment_id() -> str:
        for deployment in await w.deployments(app):
            for stage in deployment.stages if deployment.trigger.commit.hash == commit else ():
                if stage.name == "WAIT" and stage.status == StageStatus.STAGE_RUNNING:
                    return deployment.id
        return ""

    await user.go(f"/deployments/{await eventually(waiting_deployment_id)}")
    await expect(page.get_by_role("button", name=re.compile("Running.*WAIT"))).to_be_visible()
    return page


async def test_cancel_follows_the_configuration_of_the_application(user: BrowserUser, w: World) -> None:
    """Automatic rollback is disabled. The page shows who cancelled the deployment."""
    async with w.agent():
        page = await open_waiting_deployment(user, w, input={"autoRollback": False})
        await page.get_by_role("button", name="Cancel deployment", exact=True).click()
        confirm_dialog = page.get_by_role("dialog", name="Cancel deployment?")
        await expect(confirm_dialog).to_contain_text(
            "Rolls back if the application enables automatic rollback"
        )
        await confirm_dialog.get_by_role("button", name="Cancel deployment", exact=True).click()
        await expect(page.get_by_role("alert").filter(has_text="hello").first).to_be_visible()
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        stages = page.get_by_role("group", name="Pipeline stages")
        await expect(stages.get_by_role("button", name=re.compile("Cancelled.*WAIT"))).to_be_visible()
        await expect(stages.get_by_role("button", name=re.compile("ROLLBACK"))).to_have_count(0)
        await expect(page.get_by_role("button", name="Cancel options")).to_have_count(0)


async def test_cancel_and_roll_back_restores_the_previous_version(user: BrowserUser, w: World) -> None:
    """Even if automatic rollback is disabled for the application."""
    async with w.agent():
        page = await open_waiting_deployment(user, w, input={"autoRollback": False})
        await page.get_by_role("button", name="Cancel options").click()
        await page.get_by_role("menuitem", name=re.compile("Cancel and roll back")).click()
        confirm_dialog = page.get_by_role("dialog", name="Cancel and roll back?")
        await confirm_dialog.get_by_role("button", name="Cancel and roll back").click()
        stages = page.get_by_role("group", name="Pipeline stages")
        rollback = stages.get_by_role("button", name=re.compile("Succeeded.*SCRIPT_RUN_ROLLBACK"))
        await expect(rollback).to_be_visible()
        await rollback.click()
        await expect(page.get_by_role("log")).to_contain_text("put back")
        await expect(page.get_by_role("button", name="Cancel options")).to_have_count(0)


def analysis_state() -> str:
    """What an agent stores of three entries, as `pipecd.stages.analysis` encodes it."""
    now = int(time.time())

    def check(number: int, verdict: str, why: str, *values: float) -> dict[str, object]:
        names = ("low", "middle", "high", "other")
        return {
            "at": now - 480 + 60 * number,
            "verdict": verdict,
            "why": why,
            **dict(zip(names, values, strict=False)),
        }

    latency = "metrics-0 (p99-latency)"
    entries = {
        "metrics-0": {
            "name": "p99-latency",
            "query": 'histogram_quantile(0.99, rate(latency_bucket{app="shop"}[1m]))',
            "link": "https://graphs.example/?q=p99",
            "strategy": "THRESHOLD",
            "expected": {"min": None, "max": 300},
            "allowed_failures": 1,
            "passed": 6,
            "failed": 2,
            "checks": [
                *(
                    check(n, "passed", f"{latency}: within the limit 300", 180 + n, 200 + 9 * n, 260)
                    for n in range(6)
                ),
                check(6, "failed", f"{latency}: 390 is above 300", 190, 280, 390),
                check(7, "failed", f"{latency}: 412 is above 300", 250, 330, 412),
            ],
        },
        "metrics-1": {
            "name": "error-rate",
            "query": "rate(errors[1m])",
            "strategy": "CANARY_PRIMARY",
            "allowed_failures": 0,
            "passed": 4,
            "failed": 0,
            "checks": [
                check(n, "passed", "metrics-1 (error-rate): no deviation", 0, 0.01 + n / 500, 0.03, 0.012)
                for n in range(4)
            ],
        },
        "http-0": {
            "query": "GET https://shop.example/health",
            "checks": [check(7, "passed", "http-0: the status is 200")],
            "passed": 8,
        },
    }
    return json.dumps({"entries": entries})


async def test_an_analysis_is_charted_and_skipped(user: BrowserUser, w: World, agent: Client) -> None:
    """The agent receives the requesting user, and the page shows the result."""
    page = user.page
    await report_repository(agent)
    deployment = build_deployment(w, await w.register("shop", kind=1), "shop", at=int(time.time()))
    stage = PipelineStage(id="analysis", name="ANALYSIS", created_at=1, updated_at=1, visible=True)
    await agent.call(agent.piped.CreateDeployment, CreateDeploymentRequest(deployment=deployment))
    await agent.call(
        agent.piped.ReportDeploymentPlanned,
        ReportDeploymentPlannedRequest(deployment_id=deployment.id, stages=[stage]),
    )
    running = DeploymentStatus.DEPLOYMENT_RUNNING
    await agent.call(
        agent.piped.ReportDeploymentStatusChanged,
        ReportDeploymentStatusChangedRequest(deployment_id=deployment.id, status=running),
    )

    async def report_stage_status(status: StageStatus.ValueType) -> None:
        await agent.call(
            agent.piped.ReportStageStatusChanged,
            ReportStageStatusChangedRequest(
                deployment_id=deployment.id, stage_id=stage.id, status=status, visible=True, completed_at=1
            ),
        )

    await user.go(f"/deployments/{deployment.id}")
    section = page.get_by_role("region", name="ANALYSIS")
    await expect(section).to_contain_text("Not started")
    skip = section.get_by_role("button", name="Skip")
    await expect(skip).to_have_count(0)
    await report_stage_status(StageStatus.STAGE_RUNNING)
    await agent.call(
        agent.piped.SaveStageMetadata,
        SaveStageMetadataRequest(
            deployment_id=deployment.id, stage_id=stage.id, metadata={"pipecd/analysis": analysis_state()}
        ),
    )
    latency = section.get_by_role("region", name="p99-latency")
    await expect(latency).to_contain_text("412 is above 300")
    await expect(latency).to_contain_text("2 failed, 1 allowed")
    chart = latency.get_by_role("figure", name="Values of p99-latency")
    await expect(chart.locator("svg")).to_contain_text("at most 300")
    await expect(chart.get_by_role("row")).to_have_count(1 + 8)
    graph = latency.get_by_role("link", name="Graph of the provider")
    await expect(graph).to_have_attribute("href", "https://graphs.example/?q=p99")
    await expect(section.get_by_role("region", name="http-0").get_by_role("figure")).to_have_count(0)
    await skip.click()

    async def pending_command() -> Command | None:
        response = await agent.call(agent.piped.ListUnhandledCommands, ListUnhandledCommandsRequest())
        return response.commands[0] if response.commands else None

    command = await eventually(pending_command)
    assert command
    assert (command.type, command.commander) == (Command.SKIP_STAGE, "hello")
    assert (command.skip_stage.deployment_id, command.skip_stage.stage_id) == (deployment.id, stage.id)
    await agent.call(
        agent.piped.SaveStageMetadata,
        SaveStageMetadataRequest(
            deployment_id=deployment.id, stage_id=stage.id, metadata={"SkippedBy": command.commander}
        ),
    )
    await report_stage_status(StageStatus.STAGE_SKIPPED)
    succeeded = CommandStatus.COMMAND_SUCCEEDED
    await agent.call(
        agent.piped.ReportCommandHandled,
        ReportCommandHandledRequest(command_id=command.id, status=succeeded, handled_at=int(time.time())),
    )
    await expect(section).to_contain_text("Skipped by hello")
    await expect(skip).to_have_count(0)
    await expect(page.get_by_role("alert").filter(has_text="Skip ANALYSIS of shop")).to_contain_text(
        "Skipped."
    )


async def test_a_rollback_pins_until_the_pin_is_removed(user: BrowserUser, w: World, agent: Client) -> None:
    """The application's page shows who pinned it, why and until when, and which commits are held."""
    page = user.page
    await report_repository(agent)
    app = await w.register("shop", kind=TERRAFORM)
    deployed = build_deployment(w, app, "shop", at=int(time.time()) - 600)
    deployed.status = DeploymentStatus.DEPLOYMENT_SUCCESS
    deployed.completed_at = deployed.created_at + 60
    store = w.plane.server.services.store
    await store.create(deployed, by=TESTER)

    await user.go(f"/deployments/{deployed.id}")
    await page.get_by_role("button", name="Roll back to this").click()
    dialog = page.get_by_role("dialog", name="Roll shop back to c0ffee1?")
    await expect(dialog.get_by_role("alert")).to_contain_text("home is PipeCD's piped")
    await expect(dialog.get_by_role("button", name="Roll back", exact=True)).to_be_disabled()

    def set_package(record: Piped) -> None:
        record.package = "pipecd"

    await store.update(Piped, w.piped_id, set_package, by=TESTER)
    await dialog.get_by_label("Reason").fill("The new version is slow")
    await dialog.get_by_role("button", name="Roll back", exact=True).click()
    await expect(dialog).to_have_count(0)

    def hold_commit(record: Application) -> None:
        record.pin.held_commits.add(
            hash="decade77", message=f"Too slow{' to wait for' * 20}", author="ada <ada@x>", branch="main"
        )

    await store.update(Application, app, hold_commit, by=TESTER)
    await user.go(f"/applications/{app}")
    banner = page.get_by_role("alert").filter(has_text="Pinned to c0ffee1 by hello")
    await expect(banner).to_contain_text("The new version is slow")
    await expect(banner).to_contain_text("until the pin is removed")
    await expect(banner.get_by_role("list", name="Held commits")).to_contain_text("decade7 Too slow to wait")
    await page.set_viewport_size({"width": 390, "height": 844})
    await expect_sound_layout(page)
    await expect(page.get_by_role("button", name="Sync", exact=True)).to_be_disabled()

    await banner.get_by_role("button", name="Remove pin").click()
    await page.get_by_role("dialog").get_by_role("button", name="Remove pin").click()
    await expect(banner).to_have_count(0)
    await expect(page.get_by_role("button", name="Sync", exact=True)).to_be_enabled()
