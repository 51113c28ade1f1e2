"""ProgramService handlers: pipecd's extension of PipeCD's APIService, for programs with an API key."""

from collections.abc import Mapping

from pipecd import __version__
from pipecd.controlplane.auth.caller import Program
from pipecd.controlplane.records import applications, pipeds
from pipecd.controlplane.rpc import audit, console, insights, receivers, sessions
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.web import api_keys, deployments, project
from pipecd.controlplane.rpc.web import pipeds as web_pipeds
from pipecd.controlplane.rpc.web import records as web_records
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.lists import EventFilter, Paging
from pipecd.schema.api.applications_pb2 import AddApplicationResponse
from pipecd.schema.pipecd.v1.program_pb2 import (
    AddApplicationRequest,
    GetControlPlaneRequest,
    GetControlPlaneResponse,
    ListPipedsRequest,
    ListPipedsResponse,
)
from pipecd.schema.web.events_pb2 import ListEventsRequest, ListEventsResponse
from pipecd.wire import deploy_targets_to, kind_number, provider_to


async def list_pipeds(services: Services, program: Program, request: ListPipedsRequest) -> ListPipedsResponse:
    enabled = None if request.with_disabled else True
    records = await lists.pipeds(services.store, program.project_id, enabled)
    return ListPipedsResponse(
        pipeds=await pipeds.with_status(services, program.project_id, records),
        not_responding=await pipeds.find_not_responding(services, program.project_id, records),
    )


async def add_application(
    services: Services, program: Program, request: AddApplicationRequest
) -> AddApplicationResponse:
    fields, kind = request.application, request.kind
    application_id = await applications.add(
        services,
        program,
        name=fields.name,
        piped_id=fields.piped_id,
        git_path=fields.git_path,
        kind=kind_number(kind),
        platform_provider=provider_to(kind, fields.platform_provider),
        description=fields.description,
        labels=fields.labels,
        deploy_targets=deploy_targets_to(kind, fields.platform_provider),
    )
    return AddApplicationResponse(application_id=application_id)


async def list_events(services: Services, program: Program, request: ListEventsRequest) -> ListEventsResponse:
    options = request.options
    criteria = EventFilter(
        name=options.name, search=options.search, statuses=options.statuses, labels=options.labels
    )
    paging = Paging(size=request.page_size, cursor=request.cursor, since=request.page_min_updated_at)
    page = await lists.events(services.store, program.project_id, criteria, paging)
    return ListEventsResponse(events=page.records, cursor=page.cursor)


async def get_control_plane(
    services: Services, program: Program, request: GetControlPlaneRequest
) -> GetControlPlaneResponse:
    return GetControlPlaneResponse(version=__version__, console_url=services.address)


HANDLERS: Mapping[str, Handler] = {
    "ListPipeds": list_pipeds,
    "ListReceivers": receivers.list_receivers,
    "TestReceiver": receivers.test_receiver,
    "ListProjectReceivers": receivers.list_project_receivers,
    "TestProjectReceiver": receivers.test_project_receiver,
    "AddApplication": add_application,
    "GetControlPlane": get_control_plane,
    "ListEvents": list_events,
    "ListDeploymentChains": web_records.list_chains,
    "GetDeploymentChain": web_records.get_chain,
    "ListDeploymentTraces": web_records.list_traces,
    "GetInsights": insights.get_insights,
    "GetStageLog": deployments.get_stage_log,
    "RollBackTo": console.roll_back_to,
    "Unpin": console.unpin,
    "ApproveStage": deployments.approve_stage,
    "RejectStage": console.reject_stage,
    **audit.HANDLERS,
    **sessions.HANDLERS,
    **project.ADMINISTRATION,
    **api_keys.HANDLERS,
    **web_pipeds.ADMINISTRATION,
}
