"""A deployment under way, steered from its page: cancelled with and without rollback, a stage skipped."""

import re
import time

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
from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.stage_pb2 import PipelineStage, StageStatus
from tests.console.browser import Visitor
from tests.console.seeds import deployment, repository
from tests.eventually import eventually
from tests.world import World, pipeline

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
#: What runs is rolled back by a script that says so.
PUT_BACK = {"name": "SCRIPT_RUN", "with": {"run": "true", "onRollback": "echo put back"}}
WAIT = {"name": "WAIT", "with": {"duration": "10m"}}


async def open_waiting(somebody: Visitor, w: World, **spec: object) -> Page:
    """The page of a deployment that waits in its second stage; there was one before it."""
    page = somebody.page
    planner = {"alwaysUsePipeline": True}
    app = await w.application("shop", {"app.pipecd.yaml": pipeline("true", planner=planner)})
    await w.ended(app)
    file = pipeline(PUT_BACK, WAIT, planner=planner, **spec)
    commit = await w.push("Wait for long", {"shop/app.pipecd.yaml": file})

    async def begun() -> str:
        for made in await w.deployments(app):
            for stage in made.stages if made.trigger.commit.hash == commit else ():
                if stage.name == "WAIT" and stage.status == StageStatus.STAGE_RUNNING:
                    return made.id
        return ""

    await somebody.go(f"/deployments/{await eventually(begun)}")
    await expect(page.get_by_role("button", name=re.compile("Running.*WAIT"))).to_be_visible()
    return page


async def test_cancel_does_what_the_application_is_configured_for(somebody: Visitor, w: World) -> None:
    """Here: no rollback. The page says who cancelled it."""
    async with w.agent():
        page = await open_waiting(somebody, w, input={"autoRollback": False})
        await page.get_by_role("button", name="Cancel", exact=True).click()
        question = page.get_by_role("dialog", name="Cancel?")
        await expect(question).to_contain_text("rolls back if the application is configured so")
        await question.get_by_role("button", name="Cancel", exact=True).click()
        await expect(page.get_by_role("alert").filter(has_text="hello").first).to_be_visible()
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        stages = page.get_by_role("group", name="Stages of the pipeline")
        await expect(stages.get_by_role("button", name=re.compile("Cancelled.*WAIT"))).to_be_visible()
        await expect(stages.get_by_role("button", name=re.compile("ROLLBACK"))).to_have_count(0)
        await expect(page.get_by_role("button", name="Choose how to cancel")).to_have_count(0)


async def test_cancel_and_roll_back_brings_back_what_ran(somebody: Visitor, w: World) -> None:
    """Though the application itself would not roll back."""
    async with w.agent():
        page = await open_waiting(somebody, w, input={"autoRollback": False})
        await page.get_by_role("button", name="Choose how to cancel").click()
        await page.get_by_role("menuitem", name=re.compile("Cancel and roll back")).click()
        question = page.get_by_role("dialog", name="Cancel and roll back?")
        await question.get_by_role("button", name="Cancel and roll back").click()
        stages = page.get_by_role("group", name="Stages of the pipeline")
        back = stages.get_by_role("button", name=re.compile("Succeeded.*SCRIPT_RUN_ROLLBACK"))
        await expect(back).to_be_visible()
        await back.click()
        await expect(page.get_by_role("log")).to_contain_text("put back")
        await expect(page.get_by_role("button", name="Choose how to cancel")).to_have_count(0)


async def test_an_analysis_is_skipped(somebody: Visitor, w: World, agent: Client) -> None:
    """The agent is told who asked, and the page follows what it makes of it."""
    page = somebody.page
    await repository(agent)
    made = deployment(w, await w.registered("shop", kind=1), "shop", at=int(time.time()))
    stage = PipelineStage(id="analysis", name="ANALYSIS", created_at=1, updated_at=1, visible=True)
    await agent.call(agent.piped.CreateDeployment, CreateDeploymentRequest(deployment=made))
    await agent.call(
        agent.piped.ReportDeploymentPlanned,
        ReportDeploymentPlannedRequest(deployment_id=made.id, stages=[stage]),
    )
    running = DeploymentStatus.DEPLOYMENT_RUNNING
    await agent.call(
        agent.piped.ReportDeploymentStatusChanged,
        ReportDeploymentStatusChangedRequest(deployment_id=made.id, status=running),
    )

    async def stage_is(status: StageStatus.ValueType) -> None:
        await agent.call(
            agent.piped.ReportStageStatusChanged,
            ReportStageStatusChangedRequest(
                deployment_id=made.id, stage_id=stage.id, status=status, visible=True, completed_at=1
            ),
        )

    await somebody.go(f"/deployments/{made.id}")
    section = page.get_by_role("region", name="ANALYSIS")
    await expect(section).to_contain_text("Not started")
    skip = section.get_by_role("button", name="Skip")
    await expect(skip).to_have_count(0)
    await stage_is(StageStatus.STAGE_RUNNING)
    await skip.click()

    async def ordered() -> Command | None:
        answer = await agent.call(agent.piped.ListUnhandledCommands, ListUnhandledCommandsRequest())
        return answer.commands[0] if answer.commands else None

    order = await eventually(ordered)
    assert order
    assert (order.type, order.commander) == (Command.SKIP_STAGE, "hello")
    assert (order.skip_stage.deployment_id, order.skip_stage.stage_id) == (made.id, stage.id)
    await agent.call(
        agent.piped.SaveStageMetadata,
        SaveStageMetadataRequest(
            deployment_id=made.id, stage_id=stage.id, metadata={"SkippedBy": order.commander}
        ),
    )
    await stage_is(StageStatus.STAGE_SKIPPED)
    succeeded = CommandStatus.COMMAND_SUCCEEDED
    await agent.call(
        agent.piped.ReportCommandHandled,
        ReportCommandHandledRequest(command_id=order.id, status=succeeded, handled_at=int(time.time())),
    )
    await expect(section).to_contain_text("Skipped by hello")
    await expect(skip).to_have_count(0)
    await expect(page.get_by_role("alert").filter(has_text="Skip ANALYSIS of shop")).to_contain_text(
        "Skipped."
    )
