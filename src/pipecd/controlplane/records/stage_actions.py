"""Actions of users on a running deployment: cancel it, skip or approve one of its stages."""

from pipecd.controlplane.auth.caller import Caller
from pipecd.controlplane.records import commands, ownership
from pipecd.controlplane.records.deployments import find_stage
from pipecd.controlplane.services import Services
from pipecd.errors import Conflict, PermissionDenied
from pipecd.model.status import DeploymentStatus, StageStatus
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.stage_pb2 import ManualOperation, PipelineStage

#: PipeCD's classic agent does not report `available_operation`; the stage name determines what is allowed.
SKIPPABLE = frozenset({"ANALYSIS"})
APPROVABLE = frozenset({"WAIT_APPROVAL"})


async def cancel(
    services: Services, caller: Caller, deployment_id: str, *, force_rollback: bool, force_no_rollback: bool
) -> str:
    deployment = await _get_unfinished_deployment(services, caller, deployment_id)
    payload = Command.CancelDeployment(
        deployment_id=deployment_id, force_rollback=force_rollback, force_no_rollback=force_no_rollback
    )
    return await commands.create(
        services, caller, deployment.piped_id, deployment.application_id, cancel_deployment=payload
    )


async def skip(services: Services, caller: Caller, deployment_id: str, stage_id: str) -> str:
    deployment = await _get_unfinished_deployment(services, caller, deployment_id)
    stage = _find_unfinished_stage(deployment, stage_id)
    if stage.name not in SKIPPABLE and stage.available_operation != ManualOperation.MANUAL_OPERATION_SKIP:
        raise Conflict(f"stage {stage.name} cannot be skipped")
    payload = Command.SkipStage(deployment_id=deployment_id, stage_id=stage_id)
    return await commands.create(
        services, caller, deployment.piped_id, deployment.application_id, skip_stage=payload
    )


async def approve(
    services: Services, caller: Caller, deployment_id: str, stage_id: str, comment: str = ""
) -> str:
    deployment = await _get_unfinished_deployment(services, caller, deployment_id)
    _check_approver(caller, _find_unfinished_stage(deployment, stage_id))
    payload = Command.ApproveStage(deployment_id=deployment_id, stage_id=stage_id, comment=comment.strip())
    return await commands.create(
        services, caller, deployment.piped_id, deployment.application_id, approve_stage=payload
    )


async def reject(
    services: Services, caller: Caller, deployment_id: str, stage_id: str, comment: str = ""
) -> str:
    """Cancel the deployment, because an approver rejects it. PipeCD's agent only cancels it."""
    deployment = await _get_unfinished_deployment(services, caller, deployment_id)
    stage = _find_unfinished_stage(deployment, stage_id)
    _check_approver(caller, stage)
    if StageStatus(stage.status) is not StageStatus.RUNNING:
        raise Conflict(f"stage {stage.name} is not waiting for approval yet; cancel the deployment instead")
    payload = Command.CancelDeployment(
        deployment_id=deployment_id, rejected_stage_id=stage_id, comment=comment.strip()
    )
    return await commands.create(
        services, caller, deployment.piped_id, deployment.application_id, cancel_deployment=payload
    )


def _check_approver(caller: Caller, stage: PipelineStage) -> None:
    if stage.name not in APPROVABLE and stage.available_operation != ManualOperation.MANUAL_OPERATION_APPROVE:
        raise Conflict(f"stage {stage.name} is not waiting for approval")
    approvers = list_approvers(stage)
    if approvers and caller.name not in approvers:
        raise PermissionDenied(
            f"{caller.name} is not an approver of stage {stage.name}; {', '.join(approvers)} may approve it"
        )


def list_approvers(stage: PipelineStage) -> list[str]:
    """User names that may approve; empty means every user with the right."""
    named = list(stage.authorized_operators) or stage.metadata.get("Approvers", "").split(",")
    return [name.strip() for name in named if name.strip()]


async def _get_unfinished_deployment(services: Services, caller: Caller, deployment_id: str) -> Deployment:
    deployment = await ownership.get(services, caller, Deployment, deployment_id)
    status = DeploymentStatus(deployment.status)
    if status.final:
        raise Conflict(f"deployment {deployment_id} has already finished: {status.name}")
    return deployment


def _find_unfinished_stage(deployment: Deployment, stage_id: str) -> PipelineStage:
    stage = find_stage(deployment, stage_id)
    status = StageStatus(stage.status)
    if status.final:
        raise Conflict(f"stage {stage.name} has already finished: {status.name}")
    return stage
