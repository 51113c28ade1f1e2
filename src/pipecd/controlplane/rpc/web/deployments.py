"""WebService: deployments, stage logs and stage actions (approve, skip, cancel)."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Caller, Person
from pipecd.controlplane.records import ownership, stage_actions
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.lists import DeploymentFilter, Paging
from pipecd.model.access import Resource
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.web.deployments_pb2 import (
    ApproveStageRequest,
    ApproveStageResponse,
    CancelDeploymentRequest,
    CancelDeploymentResponse,
    ListDeploymentsRequest,
    ListDeploymentsResponse,
    SkipStageRequest,
    SkipStageResponse,
)
from pipecd.schema.web.logs_pb2 import GetStageLogRequest, GetStageLogResponse
from pipecd.wire import kind_name


async def list_deployments(
    services: Services, person: Person, request: ListDeploymentsRequest
) -> ListDeploymentsResponse:
    options = request.options
    criteria = DeploymentFilter(
        statuses=options.statuses,
        kinds=[kind_name(kind) for kind in options.kinds],
        application_ids=options.application_ids,
        search=options.application_name,
        labels=options.labels,
        included=person.conditions(Resource.DEPLOYMENT),
    )
    paging = Paging(size=request.page_size, cursor=request.cursor, since=request.page_min_updated_at)
    page = await lists.deployments(services.store, person.project_id, criteria, paging)
    return ListDeploymentsResponse(deployments=page.records, cursor=page.cursor)


async def get_stage_log(
    services: Services, caller: Caller, request: GetStageLogRequest
) -> GetStageLogResponse:
    """Return one page of the log. `completed` is set on the last page, so that callers read on until then."""
    await ownership.get(services, caller, Deployment, request.deployment_id)
    page = await services.logs.read(
        request.deployment_id, request.stage_id, request.retried_count, request.offset_index
    )
    return GetStageLogResponse(blocks=page.blocks, completed=page.completed, caught_up=page.caught_up)


async def cancel(
    services: Services, person: Person, request: CancelDeploymentRequest
) -> CancelDeploymentResponse:
    command_id = await stage_actions.cancel(
        services,
        person,
        request.deployment_id,
        force_rollback=request.force_rollback,
        force_no_rollback=request.force_no_rollback,
    )
    return CancelDeploymentResponse(command_id=command_id)


async def skip_stage(services: Services, person: Person, request: SkipStageRequest) -> SkipStageResponse:
    command_id = await stage_actions.skip(services, person, request.deployment_id, request.stage_id)
    return SkipStageResponse(command_id=command_id)


async def approve_stage(
    services: Services, caller: Caller, request: ApproveStageRequest
) -> ApproveStageResponse:
    command_id = await stage_actions.approve(
        services, caller, request.deployment_id, request.stage_id, request.comment
    )
    return ApproveStageResponse(command_id=command_id)


HANDLERS: Mapping[str, Handler] = {
    "ListDeployments": list_deployments,
    "GetStageLog": get_stage_log,
    "CancelDeployment": cancel,
    "SkipStage": skip_stage,
    "ApproveStage": approve_stage,
}
