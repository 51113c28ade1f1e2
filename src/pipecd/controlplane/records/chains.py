"""Deployment chains: sequences of blocks of deployments, each of which waits for the previous block.

Called when an agent creates a chain, when it asks whether a deployment may be planned, and by the job
`update_chains`.
"""

from collections.abc import Iterable, Sequence

from pipecd.controlplane.records.kinds import check_kind_of_applications
from pipecd.errors import NotFound, Refused
from pipecd.schema.agent.chains_pb2 import CreateDeploymentChainRequest, InChainDeploymentPlannableResponse
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.chain_pb2 import (
    ChainApplicationRef,
    ChainBlock,
    ChainBlockStatus,
    ChainNode,
    ChainStatus,
    DeploymentChain,
)
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.wire import kind_from

Matcher = CreateDeploymentChainRequest.ApplicationMatcher

_FINAL = (
    ChainBlockStatus.DEPLOYMENT_BLOCK_SUCCESS,
    ChainBlockStatus.DEPLOYMENT_BLOCK_FAILURE,
    ChainBlockStatus.DEPLOYMENT_BLOCK_CANCELLED,
)
_BLOCK_STATUS = {
    DeploymentStatus.DEPLOYMENT_FAILURE: ChainBlockStatus.DEPLOYMENT_BLOCK_FAILURE,
    DeploymentStatus.DEPLOYMENT_CANCELLED: ChainBlockStatus.DEPLOYMENT_BLOCK_CANCELLED,
    DeploymentStatus.DEPLOYMENT_PLANNED: ChainBlockStatus.DEPLOYMENT_BLOCK_RUNNING,
    DeploymentStatus.DEPLOYMENT_RUNNING: ChainBlockStatus.DEPLOYMENT_BLOCK_RUNNING,
    DeploymentStatus.DEPLOYMENT_ROLLING_BACK: ChainBlockStatus.DEPLOYMENT_BLOCK_RUNNING,
}
#: Status of a block whose deployments differ: the first of these that any of them has.
_WORST = (
    ChainBlockStatus.DEPLOYMENT_BLOCK_FAILURE,
    ChainBlockStatus.DEPLOYMENT_BLOCK_CANCELLED,
    ChainBlockStatus.DEPLOYMENT_BLOCK_RUNNING,
)


def match_applications(matcher: Matcher, applications: Iterable[Application]) -> Sequence[Application]:
    """The applications selected by name, kind and labels. Raises Refused for an unknown kind."""
    applications = list(applications)
    if matcher.kind:
        check_kind_of_applications(matcher.kind, applications)
    return [
        application
        for application in applications
        if (not matcher.name or application.name == matcher.name)
        and matcher.kind in ("", kind_from(application))
        and all(application.labels.get(key) == value for key, value in matcher.labels.items())
    ]


def build_node(application: Application) -> ChainNode:
    return ChainNode(
        application_ref=ChainApplicationRef(application_id=application.id, application_name=application.name)
    )


def check_plannable(chain: DeploymentChain, index: int) -> InChainDeploymentPlannableResponse:
    """Whether a deployment of block `index` may be planned now, must wait, or must be cancelled."""
    if index >= len(chain.blocks):
        raise Refused(f"chain {chain.id} has no block {index}")
    if chain.blocks[index].status in _FINAL:
        return InChainDeploymentPlannableResponse(
            cancel=True, cancel_reason=f"block {index} of the deployment chain has already finished"
        )
    if index == 0:
        return InChainDeploymentPlannableResponse(plannable=True)
    before = chain.blocks[index - 1].status
    if before == ChainBlockStatus.DEPLOYMENT_BLOCK_SUCCESS:
        return InChainDeploymentPlannableResponse(plannable=True)
    if before in _FINAL:
        word = "failed" if before == ChainBlockStatus.DEPLOYMENT_BLOCK_FAILURE else "was cancelled"
        return InChainDeploymentPlannableResponse(
            cancel=True, cancel_reason=f"block {index - 1} of the deployment chain {word}"
        )
    return InChainDeploymentPlannableResponse()


def update_statuses(chain: DeploymentChain, deployments: Iterable[Deployment], now: int) -> None:
    """Update the statuses of the chain, its blocks and nodes from its deployments."""
    by_id = {deployment.id: deployment for deployment in deployments}
    for block in chain.blocks:
        for node in block.nodes:
            deployment = by_id.get(node.deployment_ref.deployment_id)
            if deployment:
                node.deployment_ref.status = deployment.status
                node.deployment_ref.status_reason = deployment.status_reason
        _update_block(block, now)
    chain.status = _chain_status(chain.blocks)
    if chain.status not in (ChainStatus.DEPLOYMENT_CHAIN_PENDING, ChainStatus.DEPLOYMENT_CHAIN_RUNNING):
        chain.completed_at = chain.completed_at or now
    chain.updated_at = now


def attach(chain: DeploymentChain, deployment: Deployment) -> None:
    """Assign `deployment` to the node of its application. Raises NotFound if the chain has no such node."""
    for block in chain.blocks:
        for node in block.nodes:
            if node.application_ref.application_id == deployment.application_id:
                node.deployment_ref.deployment_id = deployment.id
                node.deployment_ref.status = deployment.status
                return
    raise NotFound(f"chain {chain.id} has no node for application {deployment.application_id}")


def _update_block(block: ChainBlock, now: int) -> None:
    statuses = [node.deployment_ref.status for node in block.nodes if node.deployment_ref.deployment_id]
    complete = len(statuses) == len(block.nodes)
    if complete and all(status == DeploymentStatus.DEPLOYMENT_SUCCESS for status in statuses):
        block.status = ChainBlockStatus.DEPLOYMENT_BLOCK_SUCCESS
    else:
        block_statuses = {_BLOCK_STATUS.get(status) for status in statuses}
        any_succeeded = any(status == DeploymentStatus.DEPLOYMENT_SUCCESS for status in statuses)
        worst = next((status for status in _WORST if status in block_statuses), None)
        if worst is None and any_succeeded:
            worst = ChainBlockStatus.DEPLOYMENT_BLOCK_RUNNING
        if worst is not None:
            block.status = worst
    if block.status != ChainBlockStatus.DEPLOYMENT_BLOCK_PENDING:
        block.started_at = block.started_at or now
    if block.status in _FINAL:
        block.completed_at = block.completed_at or now


def _chain_status(blocks: Sequence[ChainBlock]) -> ChainStatus.ValueType:
    statuses = [block.status for block in blocks]
    if all(status == ChainBlockStatus.DEPLOYMENT_BLOCK_SUCCESS for status in statuses):
        return ChainStatus.DEPLOYMENT_CHAIN_SUCCESS
    if ChainBlockStatus.DEPLOYMENT_BLOCK_FAILURE in statuses:
        return ChainStatus.DEPLOYMENT_CHAIN_FAILURE
    if ChainBlockStatus.DEPLOYMENT_BLOCK_CANCELLED in statuses:
        return ChainStatus.DEPLOYMENT_CHAIN_CANCELLED
    if any(status != ChainBlockStatus.DEPLOYMENT_BLOCK_PENDING for status in statuses):
        return ChainStatus.DEPLOYMENT_CHAIN_RUNNING
    return ChainStatus.DEPLOYMENT_CHAIN_PENDING
