"""Deployment chains: blocks of deployments that wait for one another, and how far each has come.

Called when an agent makes a chain or asks for its turn, and by the job that carries statuses over.
"""

from collections.abc import Iterable, Sequence

from pipecd.controlplane.records.enum_names import kinds
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

Matcher = CreateDeploymentChainRequest.ApplicationMatcher

_FINAL = (
    ChainBlockStatus.DEPLOYMENT_BLOCK_SUCCESS,
    ChainBlockStatus.DEPLOYMENT_BLOCK_FAILURE,
    ChainBlockStatus.DEPLOYMENT_BLOCK_CANCELLED,
)
_BLOCK_OF = {
    DeploymentStatus.DEPLOYMENT_FAILURE: ChainBlockStatus.DEPLOYMENT_BLOCK_FAILURE,
    DeploymentStatus.DEPLOYMENT_CANCELLED: ChainBlockStatus.DEPLOYMENT_BLOCK_CANCELLED,
    DeploymentStatus.DEPLOYMENT_PLANNED: ChainBlockStatus.DEPLOYMENT_BLOCK_RUNNING,
    DeploymentStatus.DEPLOYMENT_RUNNING: ChainBlockStatus.DEPLOYMENT_BLOCK_RUNNING,
    DeploymentStatus.DEPLOYMENT_ROLLING_BACK: ChainBlockStatus.DEPLOYMENT_BLOCK_RUNNING,
}
#: What a block, or a chain, is when its parts differ: the first of these that any part is.
_WORST = (
    ChainBlockStatus.DEPLOYMENT_BLOCK_FAILURE,
    ChainBlockStatus.DEPLOYMENT_BLOCK_CANCELLED,
    ChainBlockStatus.DEPLOYMENT_BLOCK_RUNNING,
)


def matching(matcher: Matcher, applications: Iterable[Application]) -> Sequence[Application]:
    """The applications of a block, by name, kind and labels. Raises Refused for an unknown kind."""
    (kind,) = kinds([matcher.kind]) if matcher.kind else (None,)
    return [
        one
        for one in applications
        if (not matcher.name or one.name == matcher.name)
        and kind in (None, one.kind)
        and all(one.labels.get(key) == value for key, value in matcher.labels.items())
    ]


def node(application: Application) -> ChainNode:
    return ChainNode(
        application_ref=ChainApplicationRef(application_id=application.id, application_name=application.name)
    )


def turn(chain: DeploymentChain, index: int) -> InChainDeploymentPlannableResponse:
    """May a deployment of block `index` be planned now, or should it end?"""
    if index >= len(chain.blocks):
        raise Refused(f"chain {chain.id} has no block {index}")
    if chain.blocks[index].status in _FINAL:
        return InChainDeploymentPlannableResponse(
            cancel=True, cancel_reason=f"block {index} of the deployment chain is over already"
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


def carry(chain: DeploymentChain, deployments: Iterable[Deployment], now: int) -> None:
    """Brings the chain up to date with its deployments."""
    known = {one.id: one for one in deployments}
    for block in chain.blocks:
        for one in block.nodes:
            deployment = known.get(one.deployment_ref.deployment_id)
            if deployment:
                one.deployment_ref.status = deployment.status
                one.deployment_ref.status_reason = deployment.status_reason
        _settle(block, now)
    chain.status = _chain_status(chain.blocks)
    if chain.status not in (ChainStatus.DEPLOYMENT_CHAIN_PENDING, ChainStatus.DEPLOYMENT_CHAIN_RUNNING):
        chain.completed_at = chain.completed_at or now
    chain.updated_at = now


def attach(chain: DeploymentChain, deployment: Deployment) -> None:
    """Notes `deployment` at the node it was made for. Raises NotFound when the chain has none."""
    for block in chain.blocks:
        for one in block.nodes:
            if one.application_ref.application_id == deployment.application_id:
                one.deployment_ref.deployment_id = deployment.id
                one.deployment_ref.status = deployment.status
                return
    raise NotFound(f"chain {chain.id} has no node for application {deployment.application_id}")


def _settle(block: ChainBlock, now: int) -> None:
    statuses = [one.deployment_ref.status for one in block.nodes if one.deployment_ref.deployment_id]
    whole = len(statuses) == len(block.nodes)
    if whole and all(status == DeploymentStatus.DEPLOYMENT_SUCCESS for status in statuses):
        block.status = ChainBlockStatus.DEPLOYMENT_BLOCK_SUCCESS
    else:
        reached = {_BLOCK_OF.get(status) for status in statuses}
        begun = any(status == DeploymentStatus.DEPLOYMENT_SUCCESS for status in statuses)
        worst = next((one for one in _WORST if one in reached), None)
        if worst is None and begun:
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
