"""Skipping and approving stages: only those that allow it, while they have not ended."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.stage_pb2 import ManualOperation, PipelineStage, StageStatus
from tests.actors import TESTER
from tests.controlplane.server_fixture import PROJECT, CallFailed, ControlPlane, control_plane

RUNNING, SUCCESS = StageStatus.STAGE_RUNNING, StageStatus.STAGE_SUCCESS
SKIP, APPROVE = ManualOperation.MANUAL_OPERATION_SKIP, ManualOperation.MANUAL_OPERATION_APPROVE
STAGES = [
    PipelineStage(id="analysis", name="ANALYSIS", status=RUNNING),
    PipelineStage(id="ended", name="ANALYSIS", status=SUCCESS),
    PipelineStage(id="wait", name="WAIT", status=RUNNING),
    PipelineStage(id="sync", name="TERRAFORM_APPLY", status=RUNNING),
    PipelineStage(id="approval", name="WAIT_APPROVAL", status=RUNNING, available_operation=APPROVE),
    PipelineStage(id="plugin", name="SMOKE_TEST", status=RUNNING, available_operation=SKIP),
]


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path) as running:
        piped_id, _ = await running.register_piped()
        deployment = Deployment(
            id="d1",
            application_id="a",
            piped_id=piped_id,
            project_id=PROJECT,
            status=DeploymentStatus.DEPLOYMENT_RUNNING,
            stages=STAGES,
        )
        await running.server.services.store.create(deployment, by=TESTER)
        yield running


async def call(plane: ControlPlane, method: str, stage: str) -> str:
    """The code and message of the refusal, or `sent`."""
    try:
        response = await plane.console.call(method, deployment_id="d1", stage_id=stage)
    except CallFailed as error:
        return f"{error.code}: {error.text}"
    command = (await plane.server.services.store.get(Command, response.command_id)).message
    payload = command.skip_stage if method == "SkipStage" else command.approve_stage
    assert (payload.deployment_id, payload.stage_id) == ("d1", stage)
    return "sent"


async def test_a_stage_that_cannot_be_skipped_is_refused(plane: ControlPlane) -> None:
    answers = {stage.id: await call(plane, "SkipStage", stage.id) for stage in STAGES}
    assert answers == {
        "analysis": "sent",
        "plugin": "sent",
        "ended": "failed_precondition: stage ANALYSIS has already finished: SUCCESS",
        "wait": "failed_precondition: stage WAIT cannot be skipped",
        "sync": "failed_precondition: stage TERRAFORM_APPLY cannot be skipped",
        "approval": "failed_precondition: stage WAIT_APPROVAL cannot be skipped",
    }


async def test_only_a_stage_that_waits_for_approval_can_be_approved(plane: ControlPlane) -> None:
    answers = {stage.id: await call(plane, "ApproveStage", stage.id) for stage in STAGES}
    assert answers.pop("approval") == "sent"
    assert all("failed_precondition: stage" in answer for answer in answers.values()), answers


async def test_a_rejection_is_a_cancellation_with_a_comment_for_approvers_only(plane: ControlPlane) -> None:
    response = await plane.console.call(
        "RejectStage", deployment_id="d1", stage_id="approval", comment=" Too risky\n"
    )
    command = (await plane.server.services.store.get(Command, response.command_id)).message
    assert command.type == Command.CANCEL_DEPLOYMENT
    payload = command.cancel_deployment
    assert (payload.deployment_id, payload.rejected_stage_id) == ("d1", "approval")
    assert payload.comment == "Too risky"
    with pytest.raises(CallFailed, match="WAIT is not waiting for approval"):
        await plane.console.call("RejectStage", deployment_id="d1", stage_id="wait")

    def name_approver(record: Deployment) -> None:
        record.stages[4].authorized_operators.append("ada")

    await plane.server.services.store.update(Deployment, "d1", name_approver, by=TESTER)
    with pytest.raises(CallFailed, match="is not an approver of stage WAIT_APPROVAL; ada may approve it"):
        await plane.console.call("RejectStage", deployment_id="d1", stage_id="approval")
