"""PipedService: stage logs."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.records.deployments import find_stage
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.piped import ownership
from pipecd.controlplane.services import Services
from pipecd.errors import Conflict
from pipecd.model.status import StageStatus
from pipecd.schema.agent.logs_pb2 import (
    ReportStageLogsFromLastCheckpointRequest,
    ReportStageLogsFromLastCheckpointResponse,
    ReportStageLogsRequest,
    ReportStageLogsResponse,
)
from pipecd.schema.model.deployment_pb2 import Deployment


async def report(
    services: Services, agent: Agent, request: ReportStageLogsRequest
) -> ReportStageLogsResponse:
    deployment = await _require_running_stage(services, agent, request.deployment_id, request.stage_id)
    await services.logs.append(deployment, request.stage_id, request.retried_count, request.blocks)
    return ReportStageLogsResponse()


async def checkpoint(
    services: Services, agent: Agent, request: ReportStageLogsFromLastCheckpointRequest
) -> ReportStageLogsFromLastCheckpointResponse:
    """Store blocks, also after the stage has ended: an outage must not lose its last lines."""
    deployment = await ownership.get_deployment(services, agent, request.deployment_id)
    stage = find_stage(deployment, request.stage_id)
    if StageStatus(stage.status).final and not request.completed:
        raise Conflict(f"stage {stage.name} has already ended: {StageStatus(stage.status).name}")
    await services.logs.checkpoint(
        deployment, request.stage_id, request.retried_count, request.blocks, request.completed
    )
    return ReportStageLogsFromLastCheckpointResponse()


async def _require_running_stage(
    services: Services, agent: Agent, deployment_id: str, stage_id: str
) -> Deployment:
    deployment = await ownership.get_deployment(services, agent, deployment_id)
    stage = find_stage(deployment, stage_id)
    status = StageStatus(stage.status)
    if status.final:
        raise Conflict(f"stage {stage.name} has already ended: {status.name}")
    return deployment


HANDLERS: Mapping[str, Handler] = {
    "ReportStageLogs": report,
    "ReportStageLogsFromLastCheckpoint": checkpoint,
}
