"""PipedService: deployments and their stages. The rules are in `records.deployments`."""

from collections.abc import Callable, Mapping

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.records import chains, deployments
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.piped import ownership
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.feed import BY_AGENT
from pipecd.errors import PermissionDenied, Refused
from pipecd.schema.agent.deployments_pb2 import (
    CreateDeploymentRequest,
    CreateDeploymentResponse,
    GetDeploymentRequest,
    GetDeploymentResponse,
    ListNotCompletedDeploymentsRequest,
    ListNotCompletedDeploymentsResponse,
    ReportDeploymentCompletedRequest,
    ReportDeploymentCompletedResponse,
    ReportDeploymentPlannedRequest,
    ReportDeploymentPlannedResponse,
    ReportDeploymentStatusChangedRequest,
    ReportDeploymentStatusChangedResponse,
    ReportStageStatusChangedRequest,
    ReportStageStatusChangedResponse,
    SaveDeploymentMetadataRequest,
    SaveDeploymentMetadataResponse,
    SaveDeploymentPluginMetadataRequest,
    SaveDeploymentPluginMetadataResponse,
    SaveDeploymentSharedMetadataRequest,
    SaveDeploymentSharedMetadataResponse,
    SaveStageMetadataRequest,
    SaveStageMetadataResponse,
)
from pipecd.schema.model.chain_pb2 import DeploymentChain
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus


async def get_deployment(
    services: Services, agent: Agent, request: GetDeploymentRequest
) -> GetDeploymentResponse:
    return GetDeploymentResponse(deployment=await ownership.get_deployment(services, agent, request.id))


async def list_not_completed(
    services: Services, agent: Agent, request: ListNotCompletedDeploymentsRequest
) -> ListNotCompletedDeploymentsResponse:
    unfinished = await lists.unfinished_deployments(services.store, agent.project_id, agent.piped_id)
    return ListNotCompletedDeploymentsResponse(deployments=unfinished)


async def create_deployment(
    services: Services, agent: Agent, request: CreateDeploymentRequest
) -> CreateDeploymentResponse:
    deployment = await build_deployment(services, agent, request.deployment)
    await services.store.create(deployment, by=agent.actor)
    if deployment.deployment_chain_id:
        await _attach_to_chain(services, agent, deployment)
    return CreateDeploymentResponse()


async def _attach_to_chain(services: Services, agent: Agent, deployment: Deployment) -> None:
    def attach(chain: DeploymentChain) -> None:
        if chain.project_id != agent.project_id:
            raise PermissionDenied(f"chain {chain.id} does not belong to project {agent.project_id}")
        chains.attach(chain, deployment)

    await services.store.update(DeploymentChain, deployment.deployment_chain_id, attach, by=agent.actor)


async def build_deployment(services: Services, agent: Agent, requested: Deployment) -> Deployment:
    """Build the record to store. The application's record and the credential determine its ownership."""
    application = await ownership.get_application(services, agent, requested.application_id)
    if (requested.piped_id, requested.project_id) != (agent.piped_id, agent.project_id):
        raise PermissionDenied(f"deployment {requested.id} names another piped or project than the caller")
    if requested.status != DeploymentStatus.DEPLOYMENT_PENDING:
        raise Refused("a new deployment must have the status PENDING")
    deployment = Deployment()
    deployment.CopyFrom(requested)
    now = services.now()
    deployment.application_name = application.name
    deployment.created_at = deployment.created_at or now
    deployment.updated_at = deployment.updated_at or now
    deployment.metadata_v2.shared.SetInParent()
    return deployment


async def _change(
    services: Services, agent: Agent, deployment_id: str, change: Callable[[Deployment], None]
) -> Deployment:
    """Apply `change` by compare-and-set, after checking that the agent owns the deployment."""

    def check_and_change(record: Deployment) -> None:
        ownership.check_deployment(agent, record)
        change(record)

    return (
        await services.store.update(
            Deployment, deployment_id, check_and_change, by=agent.actor, detail=BY_AGENT
        )
    ).message


async def report_planned(
    services: Services, agent: Agent, request: ReportDeploymentPlannedRequest
) -> ReportDeploymentPlannedResponse:
    now = services.now()
    await _change(
        services, agent, request.deployment_id, lambda record: deployments.plan(record, request, now)
    )
    return ReportDeploymentPlannedResponse()


async def report_status_changed(
    services: Services, agent: Agent, request: ReportDeploymentStatusChangedRequest
) -> ReportDeploymentStatusChangedResponse:
    now = services.now()
    await _change(
        services, agent, request.deployment_id, lambda record: deployments.change_status(record, request, now)
    )
    return ReportDeploymentStatusChangedResponse()


async def report_completed(
    services: Services, agent: Agent, request: ReportDeploymentCompletedRequest
) -> ReportDeploymentCompletedResponse:
    now = services.now()
    await _change(
        services, agent, request.deployment_id, lambda record: deployments.complete(record, request, now)
    )
    return ReportDeploymentCompletedResponse()


async def save_metadata(
    services: Services, agent: Agent, request: SaveDeploymentMetadataRequest
) -> SaveDeploymentMetadataResponse:
    def merge(record: Deployment) -> None:
        record.metadata.update(request.metadata)
        record.updated_at = services.now()

    await _change(services, agent, request.deployment_id, merge)
    return SaveDeploymentMetadataResponse()


async def save_shared_metadata(
    services: Services, agent: Agent, request: SaveDeploymentSharedMetadataRequest
) -> SaveDeploymentSharedMetadataResponse:
    def merge(record: Deployment) -> None:
        record.metadata_v2.shared.keyValues.update(request.metadata)
        record.updated_at = services.now()

    await _change(services, agent, request.deployment_id, merge)
    return SaveDeploymentSharedMetadataResponse()


async def save_plugin_metadata(
    services: Services, agent: Agent, request: SaveDeploymentPluginMetadataRequest
) -> SaveDeploymentPluginMetadataResponse:
    def merge(record: Deployment) -> None:
        record.metadata_v2.plugins[request.plugin_name].keyValues.update(request.metadata)
        record.updated_at = services.now()

    await _change(services, agent, request.deployment_id, merge)
    return SaveDeploymentPluginMetadataResponse()


async def save_stage_metadata(
    services: Services, agent: Agent, request: SaveStageMetadataRequest
) -> SaveStageMetadataResponse:
    now = services.now()
    await _change(
        services,
        agent,
        request.deployment_id,
        lambda record: deployments.add_stage_metadata(record, request.stage_id, request.metadata, now),
    )
    return SaveStageMetadataResponse()


async def report_stage_status(
    services: Services, agent: Agent, request: ReportStageStatusChangedRequest
) -> ReportStageStatusChangedResponse:
    now = services.now()
    await _change(
        services, agent, request.deployment_id, lambda record: deployments.change_stage(record, request, now)
    )
    return ReportStageStatusChangedResponse()


HANDLERS: Mapping[str, Handler] = {
    "GetDeployment": get_deployment,
    "ListNotCompletedDeployments": list_not_completed,
    "CreateDeployment": create_deployment,
    "ReportDeploymentPlanned": report_planned,
    "ReportDeploymentStatusChanged": report_status_changed,
    "ReportDeploymentCompleted": report_completed,
    "SaveDeploymentMetadata": save_metadata,
    "SaveDeploymentSharedMetadata": save_shared_metadata,
    "SaveDeploymentPluginMetadata": save_plugin_metadata,
    "SaveStageMetadata": save_stage_metadata,
    "ReportStageStatusChanged": report_stage_status,
}
