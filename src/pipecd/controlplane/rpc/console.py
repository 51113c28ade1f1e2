"""ConsoleService handlers: pipecd's extension for the console. Change notifications and paged lists."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Caller, Person
from pipecd.controlplane.records import ownership, pins, pipeds, stage_actions, suggestions
from pipecd.controlplane.rpc import audit, details, insights, receivers, sessions, watch
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.web import deployments, project
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.lists import ApplicationFilter, DeploymentFilter, Paging
from pipecd.errors import NotFound
from pipecd.model.access import Resource
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.pipecd.v1.console_pb2 import (
    ListSuggestionsRequest,
    ListSuggestionsResponse,
    PageApplicationsRequest,
    PageApplicationsResponse,
    PageDeploymentsRequest,
    PageDeploymentsResponse,
    RejectStageRequest,
    RejectStageResponse,
    RollBackToRequest,
    RollBackToResponse,
    SeeEndpointRequest,
    SeeEndpointResponse,
    SeeLiveStateRequest,
    SeeLiveStateResponse,
    SeePipedsRequest,
    SeePipedsResponse,
    UnpinRequest,
    UnpinResponse,
)
from pipecd.schema.web.logs_pb2 import GetStageLogRequest, GetStageLogResponse


async def page_applications(
    services: Services, person: Person, request: PageApplicationsRequest
) -> PageApplicationsResponse:
    enabled = None
    if request.only_enabled != request.only_disabled:
        enabled = request.only_enabled
    criteria = ApplicationFilter(
        search=request.search,
        kinds=request.kinds,
        sync_statuses=request.sync_statuses,
        piped_id=request.piped_id,
        labels=request.labels,
        enabled=enabled,
        included=person.conditions(Resource.APPLICATION),
    )
    paging = Paging(size=request.page_size, cursor=request.cursor)
    page = await lists.applications(services.store, person.project_id, criteria, paging)
    counts = await lists.count_applications_by_status(services.store, person.project_id, criteria)
    statuses = request.sync_statuses or counts
    return PageApplicationsResponse(
        applications=page.records,
        next_cursor=page.cursor,
        total=sum(counts.get(status, 0) for status in set(statuses)),
        status_counts=counts,
    )


async def page_deployments(
    services: Services, person: Person, request: PageDeploymentsRequest
) -> PageDeploymentsResponse:
    criteria = DeploymentFilter(
        statuses=request.statuses,
        kinds=request.kinds,
        application_ids=[request.application_id] if request.application_id else [],
        search=request.search,
        labels=request.labels,
        included=person.conditions(Resource.DEPLOYMENT),
        only_last=request.only_last,
    )
    paging = Paging(size=request.page_size, cursor=request.cursor)
    page = await lists.deployments(services.store, person.project_id, criteria, paging)
    return PageDeploymentsResponse(deployments=page.records, next_cursor=page.cursor)


async def list_suggestions(
    services: Services, person: Person, _: ListSuggestionsRequest
) -> ListSuggestionsResponse:
    found = await suggestions.list_for_person(services.store, person)
    return ListSuggestionsResponse(suggestions=found.suggestions, invalid_files=found.invalid_files)


async def see_endpoint(services: Services, _: Person, __: SeeEndpointRequest) -> SeeEndpointResponse:
    endpoint = services.endpoint
    return SeeEndpointResponse(host=endpoint.host, port=endpoint.port, plaintext=endpoint.plaintext)


async def see_pipeds(services: Services, person: Person, _: SeePipedsRequest) -> SeePipedsResponse:
    records = await lists.pipeds(services.store, person.project_id)
    return SeePipedsResponse(
        last_seen=await pipeds.last_seen(services, person.project_id, records),
        not_responding=await pipeds.find_not_responding(services, person.project_id, records),
    )


async def see_stage_log(
    services: Services, person: Person, request: GetStageLogRequest
) -> GetStageLogResponse:
    try:
        return await deployments.get_stage_log(services, person, request)
    except NotFound:
        await ownership.get(services, person, Deployment, request.deployment_id)
        return GetStageLogResponse(caught_up=True)


async def see_live_state(
    services: Services, person: Person, request: SeeLiveStateRequest
) -> SeeLiveStateResponse:
    await ownership.get(services, person, Application, request.application_id)
    try:
        return SeeLiveStateResponse(snapshot=await services.blobs.live_state(request.application_id))
    except NotFound:
        return SeeLiveStateResponse()


async def roll_back_to(services: Services, caller: Caller, request: RollBackToRequest) -> RollBackToResponse:
    command_id = await pins.roll_back_to(
        services,
        caller,
        request.deployment_id,
        reason=request.reason,
        until=request.until,
        strategy=request.sync_strategy,
    )
    return RollBackToResponse(command_id=command_id)


async def unpin(services: Services, caller: Caller, request: UnpinRequest) -> UnpinResponse:
    await pins.unpin(services, caller, request.application_id)
    return UnpinResponse()


async def reject_stage(
    services: Services, caller: Caller, request: RejectStageRequest
) -> RejectStageResponse:
    command_id = await stage_actions.reject(
        services, caller, request.deployment_id, request.stage_id, request.comment
    )
    return RejectStageResponse(command_id=command_id)


HANDLERS: Mapping[str, Handler] = {
    "Watch": watch.watch_console,
    "ListSuggestions": list_suggestions,
    "PageApplications": page_applications,
    "PageDeployments": page_deployments,
    "SeeEndpoint": see_endpoint,
    "SeePipeds": see_pipeds,
    "SeeStageLog": see_stage_log,
    "SeeLiveState": see_live_state,
    "RollBackTo": roll_back_to,
    "Unpin": unpin,
    "RejectStage": reject_stage,
    "GetInsights": insights.get_insights,
    "ListReceivers": receivers.list_receivers,
    "TestReceiver": receivers.test_receiver,
    "ListProjectReceivers": receivers.list_project_receivers,
    "TestProjectReceiver": receivers.test_project_receiver,
    "AddProjectReceiver": receivers.add_project_receiver,
    "UpdateProjectReceiver": receivers.update_project_receiver,
    "DeleteProjectReceiver": receivers.delete_project_receiver,
    "SeeResource": details.see_resource,
    "FollowContainerLog": details.follow_container_log,
    **audit.HANDLERS,
    **sessions.HANDLERS,
    **sessions.OWN_HANDLERS,
    **project.CONSOLE_HANDLERS,
}
