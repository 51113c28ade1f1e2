"""Deployment chains: sequences of blocks of deployments, each of which waits for the previous block.

Called when an agent creates a chain, when it asks whether a deployment may be planned, and by the job
`update_chains`.

A chain ends with the first block that does not succeed: the blocks after it are cancelled. Its own status
becomes final when every block has a final status and no deployment of the chain is unfinished. The ids of a
chain and of its commands are derived from the first deployment, so that a repeated creation is recognized.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence

from pipecd.controlplane.records.kinds import check_kind_of_applications
from pipecd.errors import Refused
from pipecd.model.status import DeploymentStatus as Status
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
from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.wire import kind_from

Matcher = CreateDeploymentChainRequest.ApplicationMatcher

#: Applications that the sentence about a waiting block names.
_MAX_DESCRIBED = 3
#: Must never change: another version of the control plane must derive the same ids.
NAMESPACE = uuid.UUID("0d6d6a52-54a6-5d36-8f3e-0c1f7b8e3a90")

_FINAL = (
    ChainBlockStatus.DEPLOYMENT_BLOCK_SUCCESS,
    ChainBlockStatus.DEPLOYMENT_BLOCK_FAILURE,
    ChainBlockStatus.DEPLOYMENT_BLOCK_CANCELLED,
)
ENDED_EARLY = (
    ChainBlockStatus.DEPLOYMENT_BLOCK_FAILURE,
    ChainBlockStatus.DEPLOYMENT_BLOCK_CANCELLED,
)
_FINAL_CHAIN = (
    ChainStatus.DEPLOYMENT_CHAIN_SUCCESS,
    ChainStatus.DEPLOYMENT_CHAIN_FAILURE,
    ChainStatus.DEPLOYMENT_CHAIN_CANCELLED,
)
#: Kind of the change published for an agent whose deployments waited for blocks that have ended now.
TURN = "chain_turn"
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


def match_blocks(
    matchers: Sequence[Matcher], applications: Iterable[Application], *, limit: int
) -> Sequence[Sequence[Application]]:
    """The applications of each later block.

    Raises Refused for an unknown kind, for a matcher that matches no application, and if there are more than
    `limit` applications.
    """
    applications = list(applications)
    blocks = [_match_applications(number, matcher, applications) for number, matcher in enumerate(matchers)]
    if (count := sum(map(len, blocks))) > limit:
        raise Refused(
            f"the deployment chain has {count} applications; at most {limit} are allowed",
            remedy="use narrower matchers in postSync.chain.applications",
        )
    return blocks


def _match_applications(
    number: int, matcher: Matcher, applications: Sequence[Application]
) -> Sequence[Application]:
    if matcher.kind:
        check_kind_of_applications(matcher.kind, applications)
    matched = [
        application
        for application in applications
        if (not matcher.name or application.name == matcher.name)
        and matcher.kind in ("", kind_from(application))
        and all(application.labels.get(key) == value for key, value in matcher.labels.items())
    ]
    if not matched:
        raise Refused(
            f"postSync.chain.applications[{number}] matches no enabled application of the project"
            f" ({_describe(matcher)})",
            remedy="correct it, or register and enable the application",
        )
    return matched


def _describe(matcher: Matcher) -> str:
    criteria = [
        *([f"name: {matcher.name}"] if matcher.name else ()),
        *([f"kind: {matcher.kind}"] if matcher.kind else ()),
        *(f"label {key}: {value}" for key, value in sorted(matcher.labels.items())),
    ]
    return ", ".join(criteria) or "no criterion"


def chain_id(first: Deployment) -> str:
    """The id of the chain whose first deployment is `first`."""
    return str(uuid.uuid5(NAMESPACE, f"chain/{first.project_id}/{first.id}"))


def command_id(chain: str, block: int, application_id: str) -> str:
    """The id of the command that asks for the deployment of `application_id` in `block`."""
    return str(uuid.uuid5(NAMESPACE, f"command/{chain}/{block}/{application_id}"))


def build_node(application: Application) -> ChainNode:
    return ChainNode(
        application_ref=ChainApplicationRef(application_id=application.id, application_name=application.name)
    )


def check_plannable(chain: DeploymentChain, index: int) -> InChainDeploymentPlannableResponse:
    """Whether a deployment of block `index` may be planned now, must wait, or must be cancelled.

    People count blocks from 1, so the reasons do.
    """
    if index >= len(chain.blocks):
        raise Refused(f"chain {chain.id} has no block {index}")
    for number, block in enumerate(chain.blocks[:index], start=1):
        if block.status in ENDED_EARLY:
            failed = block.status == ChainBlockStatus.DEPLOYMENT_BLOCK_FAILURE
            word = "failed" if failed else "was cancelled"
            return InChainDeploymentPlannableResponse(
                cancel=True, cancel_reason=f"block {number} of the deployment chain {word}"
            )
    if chain.blocks[index].status in ENDED_EARLY:
        reason = f"another deployment of block {index + 1} of the deployment chain did not succeed"
        return InChainDeploymentPlannableResponse(cancel=True, cancel_reason=reason)
    if chain.blocks[index].status in _FINAL:
        return InChainDeploymentPlannableResponse(
            cancel=True, cancel_reason=f"block {index + 1} of the deployment chain has already finished"
        )
    succeeded = ChainBlockStatus.DEPLOYMENT_BLOCK_SUCCESS
    plannable = index == 0 or chain.blocks[index - 1].status == succeeded
    return InChainDeploymentPlannableResponse(plannable=plannable)


def describe_wait(chain: DeploymentChain, index: int) -> str:
    """What block `index` waits for: the first block before it that has not finished. Empty if for nothing."""
    for number, block in enumerate(chain.blocks[:index], start=1):
        if block.status in _FINAL:
            continue
        open_nodes = [
            node
            for node in block.nodes
            if not node.deployment_ref.deployment_id or not Status(node.deployment_ref.status).final
        ]
        described = [_describe_node(node) for node in open_nodes[:_MAX_DESCRIBED]]
        more = len(open_nodes) - len(described)
        described += [f"{more} more"] if more > 0 else []
        return f"waits for block {number} of the deployment chain: {', '.join(described)}"
    return ""


def _describe_node(node: ChainNode) -> str:
    name, ref = node.application_ref.application_name, node.deployment_ref
    if not ref.deployment_id:
        return f"{name} (its deployment is not created yet)"
    return f"{name} ({Status(ref.status).name.lower().replace('_', ' ')}, deployment {ref.deployment_id})"


def update_statuses(
    chain: DeploymentChain, deployments: Iterable[Deployment], commands: Mapping[str, Command], now: int
) -> None:
    """Update the statuses of the chain, its blocks and nodes from its deployments and commands (by id)."""
    by_id = {deployment.id: deployment for deployment in deployments}
    failed = False
    for index, block in enumerate(chain.blocks):
        for node in block.nodes:
            deployment = by_id.get(node.deployment_ref.deployment_id)
            if deployment:
                node.deployment_ref.status = deployment.status
                node.deployment_ref.status_reason = deployment.status_reason
            elif not node.deployment_ref.deployment_id:
                command = commands.get(command_id(chain.id, index, node.application_ref.application_id))
                if command:
                    _end_without_deployment(node, command)
        _update_block(block, now)
        if failed and block.status not in _FINAL:
            block.status = ChainBlockStatus.DEPLOYMENT_BLOCK_CANCELLED
            block.completed_at = now
        if block.status in ENDED_EARLY:
            failed = True
            for node in block.nodes:
                if not node.HasField("deployment_ref"):
                    _cancel(node, "another deployment of the chain did not succeed")
    for index, block in enumerate(chain.blocks):
        waits_for = describe_wait(chain, index)
        for node in block.nodes:
            ref = node.deployment_ref
            if waits_for and ref.deployment_id and ref.status == DeploymentStatus.DEPLOYMENT_PENDING:
                ref.status_reason = waits_for
    chain.status = _chain_status(chain.blocks)
    if chain.status in _FINAL_CHAIN:
        chain.completed_at = chain.completed_at or now
    chain.updated_at = now


def find_waiting_agents(
    before: DeploymentChain, chain: DeploymentChain, deployments: Iterable[Deployment]
) -> frozenset[str]:
    """Agents with pending deployments of `chain`, if a block of it ended since `before`."""
    ended = any(
        old.status not in _FINAL and new.status in _FINAL
        for old, new in zip(before.blocks, chain.blocks, strict=True)
    )
    pending = (each for each in deployments if each.status == DeploymentStatus.DEPLOYMENT_PENDING)
    return frozenset(each.piped_id for each in pending) if ended else frozenset()


def _end_without_deployment(node: ChainNode, command: Command) -> None:
    """Cancel the node if its command was handled: the agent refused it, or did not answer in time."""
    match command.status:
        case CommandStatus.COMMAND_NOT_HANDLED_YET:
            return
        case CommandStatus.COMMAND_TIMEOUT:
            reason = "its piped did not respond to the command"
        case _:
            reason = command.metadata.get("reason", "") or "its piped created no deployment"
    _cancel(node, reason)


def _cancel(node: ChainNode, reason: str) -> None:
    """For a node without a deployment."""
    node.deployment_ref.status = DeploymentStatus.DEPLOYMENT_CANCELLED
    node.deployment_ref.status_reason = reason


def attach(chain: DeploymentChain, deployment: Deployment) -> None:
    """Assign `deployment` to the node of its application in its block.

    Raises Refused if the block has no such node, or if the node has another deployment.
    """
    index = deployment.deployment_chain_block_index
    nodes = chain.blocks[index].nodes if index < len(chain.blocks) else ()
    for node in nodes:
        if node.application_ref.application_id == deployment.application_id:
            if node.deployment_ref.deployment_id not in ("", deployment.id):
                raise Refused(
                    f"application {deployment.application_id} already has a deployment in block {index} of"
                    f" chain {chain.id}"
                )
            node.deployment_ref.deployment_id = deployment.id
            if chain.blocks[index].status not in _FINAL:
                # Otherwise the deployment will be cancelled, as the node was.
                node.deployment_ref.status = deployment.status
            return
    raise Refused(f"block {index} of chain {chain.id} has no application {deployment.application_id}")


def _update_block(block: ChainBlock, now: int) -> None:
    if block.status in _FINAL:
        return
    statuses = [node.deployment_ref.status for node in block.nodes if node.HasField("deployment_ref")]
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
    if not all(status in _FINAL for status in statuses) or any(map(_has_unfinished_deployment, blocks)):
        pending = all(status == ChainBlockStatus.DEPLOYMENT_BLOCK_PENDING for status in statuses)
        return ChainStatus.DEPLOYMENT_CHAIN_PENDING if pending else ChainStatus.DEPLOYMENT_CHAIN_RUNNING
    if ChainBlockStatus.DEPLOYMENT_BLOCK_FAILURE in statuses:
        return ChainStatus.DEPLOYMENT_CHAIN_FAILURE
    if ChainBlockStatus.DEPLOYMENT_BLOCK_CANCELLED in statuses:
        return ChainStatus.DEPLOYMENT_CHAIN_CANCELLED
    return ChainStatus.DEPLOYMENT_CHAIN_SUCCESS


def _has_unfinished_deployment(block: ChainBlock) -> bool:
    return any(
        node.deployment_ref.deployment_id and not Status(node.deployment_ref.status).final
        for node in block.nodes
    )
