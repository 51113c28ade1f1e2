"""APIService: deployments, their logs, and what became of commands."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Program
from pipecd.controlplane.records import ownership
from pipecd.controlplane.records.enum_names import kinds, statuses
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Plane
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.lists import DeploymentFilter, Paging
from pipecd.errors import NotFound
from pipecd.schema.api.commands_pb2 import GetCommandRequest, GetCommandResponse
from pipecd.schema.api.deployments_pb2 import (
    GetDeploymentRequest,
    GetDeploymentResponse,
    ListDeploymentsRequest,
    ListDeploymentsResponse,
)
from pipecd.schema.api.logs_pb2 import ListStageLogsRequest, ListStageLogsResponse
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.deployment_pb2 import Deployment


async def get(plane: Plane, program: Program, request: GetDeploymentRequest) -> GetDeploymentResponse:
    found = await ownership.get(plane, program, Deployment, request.deployment_id)
    return GetDeploymentResponse(deployment=found)


async def list_deployments(
    plane: Plane, program: Program, request: ListDeploymentsRequest
) -> ListDeploymentsResponse:
    wanted = DeploymentFilter(
        statuses=statuses(request.statuses),
        kinds=kinds(request.kinds),
        application_ids=request.application_ids,
        name=request.application_name,
        labels=request.labels,
    )
    paging = Paging(size=max(0, min(request.limit, lists.LARGEST_PAGE)), cursor=request.cursor)
    page = await lists.deployments(plane.store, program.project_id, wanted, paging)
    return ListDeploymentsResponse(deployments=page.records, cursor=page.cursor)


async def list_stage_logs(
    plane: Plane, program: Program, request: ListStageLogsRequest
) -> ListStageLogsResponse:
    """Every stage has an entry; a rollback that said nothing has none."""
    deployment = await ownership.get(plane, program, Deployment, request.deployment_id)
    answer = ListStageLogsResponse()
    for stage in deployment.stages:
        try:
            blocks, completed = await plane.logs.read(deployment.id, stage.id, stage.retried_count)
        except NotFound:
            if stage.name != "ROLLBACK":
                answer.stage_logs[stage.id].SetInParent()
            continue
        answer.stage_logs[stage.id].blocks.extend(blocks)
        answer.stage_logs[stage.id].completed = completed
    return answer


async def get_command(plane: Plane, program: Program, request: GetCommandRequest) -> GetCommandResponse:
    return GetCommandResponse(command=await ownership.get(plane, program, Command, request.command_id))


HANDLERS: Mapping[str, Handler] = {
    "GetDeployment": get,
    "ListDeployments": list_deployments,
    "ListStageLogs": list_stage_logs,
    "GetCommand": get_command,
}
