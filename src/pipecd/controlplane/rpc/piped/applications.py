"""PipedService: what an agent is told and tells about its applications."""

from collections.abc import Callable, Mapping

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.records import suggestions
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.piped import owned
from pipecd.controlplane.services import Plane
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.feed import BY_AGENT
from pipecd.errors import NotFound
from pipecd.schema.agent.applications_pb2 import (
    GetApplicationMostRecentDeploymentRequest,
    GetApplicationMostRecentDeploymentResponse,
    ListApplicationsRequest,
    ListApplicationsResponse,
    ReportApplicationDeployingStatusRequest,
    ReportApplicationDeployingStatusResponse,
    ReportApplicationMostRecentDeploymentRequest,
    ReportApplicationMostRecentDeploymentResponse,
    ReportApplicationSyncStateRequest,
    ReportApplicationSyncStateResponse,
    ReportUnregisteredApplicationConfigurationsRequest,
    ReportUnregisteredApplicationConfigurationsResponse,
    UpdateApplicationConfigurationsRequest,
    UpdateApplicationConfigurationsResponse,
)
from pipecd.schema.model.application_pb2 import Application, ApplicationInfo
from pipecd.schema.model.deployment_pb2 import DeploymentStatus


async def list_applications(
    plane: Plane, agent: Agent, _: ListApplicationsRequest
) -> ListApplicationsResponse:
    found = await lists.enabled_applications(plane.store, agent.project_id, agent.piped_id)
    return ListApplicationsResponse(applications=found)


async def report_sync_state(
    plane: Plane, agent: Agent, request: ReportApplicationSyncStateRequest
) -> ReportApplicationSyncStateResponse:
    await _change(
        plane, agent, request.application_id, lambda record: record.sync_state.CopyFrom(request.state)
    )
    return ReportApplicationSyncStateResponse()


async def report_deploying(
    plane: Plane, agent: Agent, request: ReportApplicationDeployingStatusRequest
) -> ReportApplicationDeployingStatusResponse:
    def change(record: Application) -> None:
        record.deploying = request.deploying

    await _change(plane, agent, request.application_id, change)
    return ReportApplicationDeployingStatusResponse()


async def report_most_recent(
    plane: Plane, agent: Agent, request: ReportApplicationMostRecentDeploymentRequest
) -> ReportApplicationMostRecentDeploymentResponse:
    """A success or a trigger is remembered; of other states nothing is."""

    def change(record: Application) -> None:
        if request.status == DeploymentStatus.DEPLOYMENT_SUCCESS:
            record.most_recently_successful_deployment.CopyFrom(request.deployment)
        elif request.status == DeploymentStatus.DEPLOYMENT_PENDING:
            record.most_recently_triggered_deployment.CopyFrom(request.deployment)

    await _change(plane, agent, request.application_id, change)
    return ReportApplicationMostRecentDeploymentResponse()


async def get_most_recent(
    plane: Plane, agent: Agent, request: GetApplicationMostRecentDeploymentRequest
) -> GetApplicationMostRecentDeploymentResponse:
    application = await owned.application(plane, agent, request.application_id)
    known = {
        DeploymentStatus.DEPLOYMENT_SUCCESS: "most_recently_successful_deployment",
        DeploymentStatus.DEPLOYMENT_PENDING: "most_recently_triggered_deployment",
    }
    member = known.get(request.status, "")
    if not member or not application.HasField(member):  # type: ignore[arg-type]
        raise NotFound(f"application {application.id} has no such deployment yet")
    return GetApplicationMostRecentDeploymentResponse(deployment=getattr(application, member))


async def update_configurations(
    plane: Plane, agent: Agent, request: UpdateApplicationConfigurationsRequest
) -> UpdateApplicationConfigurationsResponse:
    """Names, descriptions and labels as Git has them; nothing changes unless all are the agent's."""
    for info in request.applications:
        await owned.application(plane, agent, info.id)
    for info in request.applications:
        await _change(plane, agent, info.id, lambda record, info=info: _configure(record, info))  # type: ignore[misc]
    return UpdateApplicationConfigurationsResponse()


def _configure(record: Application, info: ApplicationInfo) -> None:
    record.name = info.name
    record.description = info.description
    record.labels.clear()
    record.labels.update(info.labels)


async def report_unregistered(
    plane: Plane, agent: Agent, request: ReportUnregisteredApplicationConfigurationsRequest
) -> ReportUnregisteredApplicationConfigurationsResponse:
    """Replaces what this agent suggested before."""
    await suggestions.replace(plane.store, agent.project_id, agent.piped_id, request.applications)
    return ReportUnregisteredApplicationConfigurationsResponse()


async def _change(
    plane: Plane, agent: Agent, application_id: str, change: Callable[[Application], None]
) -> None:
    def checked(record: Application) -> None:
        owned.check_application(agent, record)
        change(record)
        record.updated_at = plane.now()

    await plane.store.update(Application, application_id, checked, BY_AGENT)


HANDLERS: Mapping[str, Handler] = {
    "ListApplications": list_applications,
    "ReportApplicationSyncState": report_sync_state,
    "ReportApplicationDeployingStatus": report_deploying,
    "ReportApplicationMostRecentDeployment": report_most_recent,
    "GetApplicationMostRecentDeployment": get_most_recent,
    "UpdateApplicationConfigurations": update_configurations,
    "ReportUnregisteredApplicationConfigurations": report_unregistered,
}
