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

#: Of all logs in one response, in bytes: clients of gRPC accept messages of up to 4 MiB.
MAX_LOGS_SIZE = 3 * 1024 * 1024
_CUT = "[earlier lines are left out: the console and ProgramService.GetStageLog return the whole log]"


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
    """Return an entry for every stage, except for a rollback stage without logs.

    The response has no pages, so that of logs that are too long for it only the end is returned.
    """
    deployment = await ownership.get(services, program, Deployment, request.deployment_id)
    response = ListStageLogsResponse()
    max_size = MAX_LOGS_SIZE // max(1, len(deployment.stages))
    for stage in deployment.stages:
        try:
            page, cut = await services.logs.read_end(deployment.id, stage.id, stage.retried_count, max_size)
        except NotFound:
            if stage.name != "ROLLBACK":
                response.stage_logs[stage.id].SetInParent()
            continue
        if cut:
            response.stage_logs[stage.id].blocks.add(index=page.blocks[0].index - 1, log=_CUT, created_at=1)
        response.stage_logs[stage.id].blocks.extend(page.blocks)
        response.stage_logs[stage.id].completed = page.completed
    return response


HANDLERS: Mapping[str, Handler] = {
    "ListDeployments": list_deployments,
    "ListStageLogs": list_stage_logs,
}
