"""PipedService: lines of stage logs."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.records.deployments import stage_of
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.piped import owned
from pipecd.controlplane.services import Plane
from pipecd.errors import Conflict
from pipecd.model.status import StageStatus
from pipecd.schema.agent.logs_pb2 import (
    ReportStageLogsFromLastCheckpointRequest,
    ReportStageLogsFromLastCheckpointResponse,
    ReportStageLogsRequest,
    ReportStageLogsResponse,
)
from pipecd.schema.model.deployment_pb2 import Deployment


async def report(plane: Plane, agent: Agent, request: ReportStageLogsRequest) -> ReportStageLogsResponse:
    deployment = await _open(plane, agent, request.deployment_id, request.stage_id)
    await plane.logs.append(deployment, request.stage_id, request.retried_count, request.blocks)
    return ReportStageLogsResponse()


async def checkpoint(
    plane: Plane, agent: Agent, request: ReportStageLogsFromLastCheckpointRequest
) -> ReportStageLogsFromLastCheckpointResponse:
    """Takes lines also after the stage's end: an outage must not cost the last of them."""
    deployment = await owned.deployment(plane, agent, request.deployment_id)
    stage = stage_of(deployment, request.stage_id)
    if StageStatus(stage.status).final and not request.completed:
        raise Conflict(f"stage {stage.name} is over already: {StageStatus(stage.status).name}")
    await plane.logs.checkpoint(
        deployment, request.stage_id, request.retried_count, request.blocks, request.completed
    )
    return ReportStageLogsFromLastCheckpointResponse()


async def _open(plane: Plane, agent: Agent, deployment_id: str, stage_id: str) -> Deployment:
    deployment = await owned.deployment(plane, agent, deployment_id)
    stage = stage_of(deployment, stage_id)
    status = StageStatus(stage.status)
    if status.final:
        raise Conflict(f"stage {stage.name} is over already: {status.name}")
    return deployment


HANDLERS: Mapping[str, Handler] = {
    "ReportStageLogs": report,
    "ReportStageLogsFromLastCheckpoint": checkpoint,
}
