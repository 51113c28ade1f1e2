"""APIService: deployments, stage logs and the status of commands."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Program
from pipecd.controlplane.records import ownership
from pipecd.controlplane.records.enum_names import parse_statuses
from pipecd.controlplane.records.kinds import check_kinds
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.lists import DeploymentFilter, Paging
from pipecd.errors import NotFound
from pipecd.schema.api.deployments_pb2 import (
    ListDeploymentsRequest,
    ListDeploymentsResponse,
)
from pipecd.schema.api.logs_pb2 import ListStageLogsRequest, ListStageLogsResponse
from pipecd.schema.model.deployment_pb2 import Deployment


async def list_deployments(
    services: Services, program: Program, request: ListDeploymentsRequest
) -> ListDeploymentsResponse:
    criteria = DeploymentFilter(
        statuses=parse_statuses(request.statuses),
        kinds=await check_kinds(services.store, program.project_id, request.kinds),
        application_ids=request.application_ids,
        name=request.application_name,
        labels=request.labels,
    )
    paging = Paging(size=max(0, min(request.limit, lists.MAX_PAGE_SIZE)), cursor=request.cursor)
    page = await lists.deployments(services.store, program.project_id, criteria, paging)
    return ListDeploymentsResponse(deployments=page.records, cursor=page.cursor)


async def list_stage_logs(
    services: Services, program: Program, request: ListStageLogsRequest
) -> ListStageLogsResponse:
    """Return an entry for every stage, except for a rollback stage without logs."""
    deployment = await ownership.get(services, program, Deployment, request.deployment_id)
    response = ListStageLogsResponse()
    for stage in deployment.stages:
        try:
            blocks, completed = await services.logs.read(deployment.id, stage.id, stage.retried_count)
        except NotFound:
            if stage.name != "ROLLBACK":
                response.stage_logs[stage.id].SetInParent()
            continue
        response.stage_logs[stage.id].blocks.extend(blocks)
        response.stage_logs[stage.id].completed = completed
    return response


HANDLERS: Mapping[str, Handler] = {
    "ListDeployments": list_deployments,
    "ListStageLogs": list_stage_logs,
}
