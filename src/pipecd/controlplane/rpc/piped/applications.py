"""PipedService: list, update and report applications."""

from collections.abc import Callable, Mapping

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.records import suggestions
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.piped import ownership
from pipecd.controlplane.services import Services
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
    services: Services, agent: Agent, _: ListApplicationsRequest
) -> ListApplicationsResponse:
    response = ListApplicationsResponse()
    await lists.enabled_applications(
        services.store, agent.project_id, agent.piped_id, response.applications.add
    )
    return response


async def report_sync_state(
    services: Services, agent: Agent, request: ReportApplicationSyncStateRequest
) -> ReportApplicationSyncStateResponse:
    await _change(
        services, agent, request.application_id, lambda record: record.sync_state.CopyFrom(request.state)
    )
    return ReportApplicationSyncStateResponse()


async def report_deploying(
    services: Services, agent: Agent, request: ReportApplicationDeployingStatusRequest
) -> ReportApplicationDeployingStatusResponse:
    def change(record: Application) -> None:
        record.deploying = request.deploying

    await _change(services, agent, request.application_id, change)
    return ReportApplicationDeployingStatusResponse()


async def report_most_recent(
    services: Services, agent: Agent, request: ReportApplicationMostRecentDeploymentRequest
) -> ReportApplicationMostRecentDeploymentResponse:
    """Store the deployment if its status is SUCCESS or PENDING; ignore it otherwise."""

    def change(record: Application) -> None:
        if request.status == DeploymentStatus.DEPLOYMENT_SUCCESS:
            record.most_recently_successful_deployment.CopyFrom(request.deployment)
        elif request.status == DeploymentStatus.DEPLOYMENT_PENDING:
            record.most_recently_triggered_deployment.CopyFrom(request.deployment)

    await _change(services, agent, request.application_id, change)
    return ReportApplicationMostRecentDeploymentResponse()


async def get_most_recent(
    services: Services, agent: Agent, request: GetApplicationMostRecentDeploymentRequest
) -> GetApplicationMostRecentDeploymentResponse:
    application = await ownership.get_application(services, agent, request.application_id)
    fields = {
        DeploymentStatus.DEPLOYMENT_SUCCESS: "most_recently_successful_deployment",
        DeploymentStatus.DEPLOYMENT_PENDING: "most_recently_triggered_deployment",
    }
    field = fields.get(request.status, "")
    if not field or not application.HasField(field):  # type: ignore[arg-type]
        raise NotFound(f"application {application.id} has no such deployment yet")
    return GetApplicationMostRecentDeploymentResponse(deployment=getattr(application, field))


async def update_configurations(
    services: Services, agent: Agent, request: UpdateApplicationConfigurationsRequest
) -> UpdateApplicationConfigurationsResponse:
    """Set names, descriptions and labels as configured in Git. Changes none unless the agent owns all."""
    for info in request.applications:
        await ownership.get_application(services, agent, info.id)
    for info in request.applications:
        await _change(services, agent, info.id, lambda record, info=info: _configure(record, info))  # type: ignore[misc]
    return UpdateApplicationConfigurationsResponse()


def _configure(record: Application, info: ApplicationInfo) -> None:
    record.name = info.name
    record.description = info.description
    record.labels.clear()
    record.labels.update(info.labels)


async def report_unregistered(
    services: Services, agent: Agent, request: ReportUnregisteredApplicationConfigurationsRequest
) -> ReportUnregisteredApplicationConfigurationsResponse:
    """Replace the unregistered applications that this agent reported before."""
    await suggestions.replace(
        services.store, agent.project_id, agent.piped_id, request.applications, by=agent.actor
    )
    return ReportUnregisteredApplicationConfigurationsResponse()


async def _change(
    services: Services, agent: Agent, application_id: str, change: Callable[[Application], None]
) -> None:
    def check_and_change(record: Application) -> None:
        ownership.check_application(agent, record)
        change(record)
        record.updated_at = services.now()

    await services.store.update(
        Application, application_id, check_and_change, by=agent.actor, detail=BY_AGENT
    )


HANDLERS: Mapping[str, Handler] = {
    "ListApplications": list_applications,
    "ReportApplicationSyncState": report_sync_state,
    "ReportApplicationDeployingStatus": report_deploying,
    "ReportApplicationMostRecentDeployment": report_most_recent,
    "GetApplicationMostRecentDeployment": get_most_recent,
    "UpdateApplicationConfigurations": update_configurations,
    "ReportUnregisteredApplicationConfigurations": report_unregistered,
}
