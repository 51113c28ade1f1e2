"""PipedService: deployments and their stages. The rules are in `records.deployments`."""

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.records import chains, deployments
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.piped import delivery_metrics, ownership
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.feed import BY_AGENT
from pipecd.errors import PermissionDenied, Refused
from pipecd.model.status import DeploymentStatus as DeploymentState
from pipecd.schema.agent.deployments_pb2 import (
    CreateDeploymentRequest,
    CreateDeploymentResponse,
    GetDeploymentRequest,
    GetDeploymentResponse,
    ListNotCompletedDeploymentsRequest,
    ListNotCompletedDeploymentsResponse,
    ReportDeploymentCompletedResponse,
    ReportDeploymentPlannedResponse,
    ReportDeploymentStatusChangedResponse,
    ReportStageStatusChangedResponse,
    SaveDeploymentMetadataResponse,
    SaveDeploymentPluginMetadataResponse,
    SaveDeploymentSharedMetadataResponse,
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
    response = ListNotCompletedDeploymentsResponse()
    await lists.unfinished_deployments(
        services.store, agent.project_id, agent.piped_id, response.deployments.add
    )
    return response


async def create_deployment(
    services: Services, agent: Agent, request: CreateDeploymentRequest
) -> CreateDeploymentResponse:
    deployment = await build_deployment(services, agent, request.deployment)
    if deployment.deployment_chain_id:
        await _create_in_chain(services, agent, deployment)
    else:
        await services.store.create(deployment, by=agent.actor)
    delivery_metrics.count_created(deployment)
    return CreateDeploymentResponse()


async def _create_in_chain(services: Services, agent: Agent, deployment: Deployment) -> None:
    """Create the deployment and assign it to its node, or do neither."""

    def attach(chain: DeploymentChain) -> None:
        if chain.project_id != agent.project_id:
            raise PermissionDenied(f"chain {chain.id} does not belong to project {agent.project_id}")
        chains.attach(chain, deployment)

    await services.store.update(
        DeploymentChain, deployment.deployment_chain_id, attach, by=agent.actor, creating=[deployment]
    )


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


def _report(response: type[Message], apply: Callable[[Deployment, Any, int], None]) -> Handler:
    """A handler that applies a report to the deployment by compare-and-set, if the agent owns it.

    `apply` takes the record, the request and the current time (epoch seconds).
    """

    async def handle(services: Services, agent: Agent, request: Any) -> Message:
        now, started, ended = services.now(), False, False

        def change(record: Deployment) -> None:
            nonlocal started, ended
            ownership.check_deployment(agent, record)
            before = DeploymentState(record.status)
            apply(record, request, now)
            after = DeploymentState(record.status)
            started = after is DeploymentState.RUNNING and before is not after
            ended = after.final and not before.final

        updated = await services.store.update(
            Deployment, request.deployment_id, change, by=agent.actor, detail=BY_AGENT
        )
        if started:
            delivery_metrics.observe_start(updated.message, now)
        if ended:
            delivery_metrics.count_ended(updated.message)
        return response()

    return handle


HANDLERS: Mapping[str, Handler] = {
    "GetDeployment": get_deployment,
    "ListNotCompletedDeployments": list_not_completed,
    "CreateDeployment": create_deployment,
    "ReportDeploymentPlanned": _report(ReportDeploymentPlannedResponse, deployments.plan),
    "ReportDeploymentStatusChanged": _report(
        ReportDeploymentStatusChangedResponse, deployments.change_status
    ),
    "ReportDeploymentCompleted": _report(ReportDeploymentCompletedResponse, deployments.complete),
    "SaveDeploymentMetadata": _report(SaveDeploymentMetadataResponse, deployments.add_metadata),
    "SaveDeploymentSharedMetadata": _report(
        SaveDeploymentSharedMetadataResponse, deployments.add_shared_metadata
    ),
    "SaveDeploymentPluginMetadata": _report(
        SaveDeploymentPluginMetadataResponse, deployments.add_plugin_metadata
    ),
    "SaveStageMetadata": _report(SaveStageMetadataResponse, deployments.add_stage_metadata),
    "ReportStageStatusChanged": _report(ReportStageStatusChangedResponse, deployments.change_stage),
}
