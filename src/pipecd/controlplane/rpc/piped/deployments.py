"""PipedService: deployments and their stages. The rules are in `controlplane.deployments`."""

from collections.abc import Callable, Mapping

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.records import chains, deployments
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.piped import owned
from pipecd.controlplane.services import Plane
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


async def get_deployment(plane: Plane, agent: Agent, request: GetDeploymentRequest) -> GetDeploymentResponse:
    return GetDeploymentResponse(deployment=await owned.deployment(plane, agent, request.id))


async def list_not_completed(
    plane: Plane, agent: Agent, request: ListNotCompletedDeploymentsRequest
) -> ListNotCompletedDeploymentsResponse:
    found = await lists.unfinished_deployments(plane.store, agent.project_id, agent.piped_id)
    return ListNotCompletedDeploymentsResponse(deployments=found)


async def create_deployment(
    plane: Plane, agent: Agent, request: CreateDeploymentRequest
) -> CreateDeploymentResponse:
    made = await new_deployment(plane, agent, request.deployment)
    await plane.store.create(made)
    if made.deployment_chain_id:
        await _attach(plane, agent, made)
    return CreateDeploymentResponse()


async def _attach(plane: Plane, agent: Agent, made: Deployment) -> None:
    def attach(chain: DeploymentChain) -> None:
        if chain.project_id != agent.project_id:
            raise PermissionDenied(f"chain {chain.id} does not belong to project {agent.project_id}")
        chains.attach(chain, made)

    await plane.store.update(DeploymentChain, made.deployment_chain_id, attach)


async def new_deployment(plane: Plane, agent: Agent, wanted: Deployment) -> Deployment:
    """What `wanted` is stored as: whose it is comes from the application's record and the credential."""
    application = await owned.application(plane, agent, wanted.application_id)
    if (wanted.piped_id, wanted.project_id) != (agent.piped_id, agent.project_id):
        raise PermissionDenied(f"deployment {wanted.id} names another piped or project than its caller")
    if wanted.status != DeploymentStatus.DEPLOYMENT_PENDING:
        raise Refused("a deployment begins as PENDING")
    made = Deployment()
    made.CopyFrom(wanted)
    now = plane.now()
    made.application_name = application.name
    made.created_at = made.created_at or now
    made.updated_at = made.updated_at or now
    made.metadata_v2.shared.SetInParent()
    return made


async def _change(
    plane: Plane, agent: Agent, deployment_id: str, change: Callable[[Deployment], None]
) -> Deployment:
    """Apply `change` by compare-and-set, after checking whose deployment it is."""

    def checked(record: Deployment) -> None:
        owned.check_deployment(agent, record)
        change(record)

    return (await plane.store.update(Deployment, deployment_id, checked, BY_AGENT)).message


async def report_planned(
    plane: Plane, agent: Agent, request: ReportDeploymentPlannedRequest
) -> ReportDeploymentPlannedResponse:
    now = plane.now()
    await _change(plane, agent, request.deployment_id, lambda record: deployments.plan(record, request, now))
    return ReportDeploymentPlannedResponse()


async def report_status_changed(
    plane: Plane, agent: Agent, request: ReportDeploymentStatusChangedRequest
) -> ReportDeploymentStatusChangedResponse:
    now = plane.now()
    await _change(
        plane, agent, request.deployment_id, lambda record: deployments.change_status(record, request, now)
    )
    return ReportDeploymentStatusChangedResponse()


async def report_completed(
    plane: Plane, agent: Agent, request: ReportDeploymentCompletedRequest
) -> ReportDeploymentCompletedResponse:
    now = plane.now()
    await _change(
        plane, agent, request.deployment_id, lambda record: deployments.complete(record, request, now)
    )
    return ReportDeploymentCompletedResponse()


async def save_metadata(
    plane: Plane, agent: Agent, request: SaveDeploymentMetadataRequest
) -> SaveDeploymentMetadataResponse:
    def merge(record: Deployment) -> None:
        record.metadata.update(request.metadata)
        record.updated_at = plane.now()

    await _change(plane, agent, request.deployment_id, merge)
    return SaveDeploymentMetadataResponse()


async def save_shared_metadata(
    plane: Plane, agent: Agent, request: SaveDeploymentSharedMetadataRequest
) -> SaveDeploymentSharedMetadataResponse:
    def merge(record: Deployment) -> None:
        record.metadata_v2.shared.keyValues.update(request.metadata)
        record.updated_at = plane.now()

    await _change(plane, agent, request.deployment_id, merge)
    return SaveDeploymentSharedMetadataResponse()


async def save_plugin_metadata(
    plane: Plane, agent: Agent, request: SaveDeploymentPluginMetadataRequest
) -> SaveDeploymentPluginMetadataResponse:
    def merge(record: Deployment) -> None:
        record.metadata_v2.plugins[request.plugin_name].keyValues.update(request.metadata)
        record.updated_at = plane.now()

    await _change(plane, agent, request.deployment_id, merge)
    return SaveDeploymentPluginMetadataResponse()


async def save_stage_metadata(
    plane: Plane, agent: Agent, request: SaveStageMetadataRequest
) -> SaveStageMetadataResponse:
    now = plane.now()
    await _change(
        plane,
        agent,
        request.deployment_id,
        lambda record: deployments.add_stage_metadata(record, request.stage_id, request.metadata, now),
    )
    return SaveStageMetadataResponse()


async def report_stage_status(
    plane: Plane, agent: Agent, request: ReportStageStatusChangedRequest
) -> ReportStageStatusChangedResponse:
    now = plane.now()
    await _change(
        plane, agent, request.deployment_id, lambda record: deployments.change_stage(record, request, now)
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
