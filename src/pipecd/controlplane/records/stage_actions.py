"""What people may ask of a deployment that is under way: cancel it, skip or approve one of its stages."""

from pipecd.controlplane.auth.caller import Caller
from pipecd.controlplane.records import commands, ownership
from pipecd.controlplane.records.deployments import stage_of
from pipecd.controlplane.services import Plane
from pipecd.errors import Conflict, PermissionDenied
from pipecd.model.status import DeploymentStatus, StageStatus
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.stage_pb2 import ManualOperation, PipelineStage

#: Stages of PipeCD's classic agent do not say what may be done to them; their names do.
SKIPPABLE = frozenset({"ANALYSIS"})
APPROVABLE = frozenset({"WAIT_APPROVAL"})


async def cancel(
    plane: Plane, caller: Caller, deployment_id: str, *, force_rollback: bool, force_no_rollback: bool
) -> str:
    deployment = await _under_way(plane, caller, deployment_id)
    payload = Command.CancelDeployment(
        deployment_id=deployment_id, force_rollback=force_rollback, force_no_rollback=force_no_rollback
    )
    return await commands.order(
        plane, caller, deployment.piped_id, deployment.application_id, cancel_deployment=payload
    )


async def skip(plane: Plane, caller: Caller, deployment_id: str, stage_id: str) -> str:
    deployment = await _under_way(plane, caller, deployment_id)
    stage = _open(deployment, stage_id)
    if stage.name not in SKIPPABLE and stage.available_operation != ManualOperation.MANUAL_OPERATION_SKIP:
        raise Conflict(f"stage {stage.name} cannot be skipped")
    payload = Command.SkipStage(deployment_id=deployment_id, stage_id=stage_id)
    return await commands.order(
        plane, caller, deployment.piped_id, deployment.application_id, skip_stage=payload
    )


async def approve(plane: Plane, caller: Caller, deployment_id: str, stage_id: str) -> str:
    deployment = await _under_way(plane, caller, deployment_id)
    stage = _open(deployment, stage_id)
    if stage.name not in APPROVABLE and stage.available_operation != ManualOperation.MANUAL_OPERATION_APPROVE:
        raise Conflict(f"stage {stage.name} waits for no approval")
    approvers = approvers_of(stage)
    if approvers and caller.name not in approvers:
        raise PermissionDenied(
            f"{caller.name} is not an approver of stage {stage.name}; {', '.join(approvers)} may approve it"
        )
    payload = Command.ApproveStage(deployment_id=deployment_id, stage_id=stage_id)
    return await commands.order(
        plane, caller, deployment.piped_id, deployment.application_id, approve_stage=payload
    )


def approvers_of(stage: PipelineStage) -> list[str]:
    """Who may approve; empty means anybody with the right."""
    named = list(stage.authorized_operators) or stage.metadata.get("Approvers", "").split(",")
    return [name.strip() for name in named if name.strip()]


async def _under_way(plane: Plane, caller: Caller, deployment_id: str) -> Deployment:
    deployment = await ownership.get(plane, caller, Deployment, deployment_id)
    status = DeploymentStatus(deployment.status)
    if status.final:
        raise Conflict(f"deployment {deployment_id} is over already: {status.name}")
    return deployment


def _open(deployment: Deployment, stage_id: str) -> PipelineStage:
    stage = stage_of(deployment, stage_id)
    status = StageStatus(stage.status)
    if status.final:
        raise Conflict(f"stage {stage.name} is over already: {status.name}")
    return stage
