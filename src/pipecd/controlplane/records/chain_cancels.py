"""Which deployments of chains are cancelled, and why. Pure; called by `jobs.update_chains`.

A chain with `onFailure: cancel` cancels the running deployments of a block that did not succeed. Chains that
wait for each other lose a deployment of the newest of them.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import groupby, pairwise

from pipecd.controlplane.records import commands
from pipecd.controlplane.records.chains import ENDED_EARLY, NAMESPACE
from pipecd.model.deployment import Deployment
from pipecd.model.queue import order_queue
from pipecd.model.status import DeploymentStatus
from pipecd.schema.model.chain_pb2 import ChainFailurePolicy, ChainNode, DeploymentChain
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.deployment_pb2 import Deployment as WireDeployment

#: Who cancels, as the deployment's reason says it.
CANCELLED_BY = "the deployment chain"
_CANCELLABLE = (DeploymentStatus.PLANNED, DeploymentStatus.RUNNING)
#: A deployment's id, or the place of deployments of one commit in an application's queue.
_Waiting = str | tuple[str, int]


def find_cancelled_siblings(chain: DeploymentChain) -> Mapping[str, str]:
    """Deployment → why it is cancelled, of a chain whose statuses are up to date."""
    if chain.on_failure != ChainFailurePolicy.CHAIN_FAILURE_CANCEL:
        return {}
    return {
        node.deployment_ref.deployment_id: f"{_failed(block.nodes)} in block {number} did not succeed"
        for number, block in enumerate(chain.blocks, start=1)
        if block.status in ENDED_EARLY
        for node in block.nodes
        if node.deployment_ref.deployment_id and DeploymentStatus(node.deployment_ref.status) in _CANCELLABLE
    }


def _failed(nodes: Iterable[ChainNode]) -> str:
    """The name of the application that ended its block."""
    ended = (DeploymentStatus.FAILURE, DeploymentStatus.CANCELLED)
    statuses = {
        node.application_ref.application_name: DeploymentStatus(node.deployment_ref.status)
        for node in nodes
        if node.HasField("deployment_ref")
    }
    return min(
        (name for name, status in statuses.items() if status in ended),
        key=lambda name: ended.index(statuses[name]),
        default="a deployment",
    )


def find_overlapping(chains: Iterable[DeploymentChain]) -> frozenset[str]:
    """The chains that have applications in common with others: only these can wait for each other."""
    by_application: defaultdict[str, set[str]] = defaultdict(set)
    for chain in chains:
        for block in chain.blocks:
            for node in block.nodes:
                by_application[node.application_ref.application_id].add(chain.id)
    return frozenset(id for ids in by_application.values() if len(ids) > 1 for id in ids)


def find_deadlock(chains: Sequence[DeploymentChain], deployments: Iterable[Deployment]) -> Mapping[str, str]:
    """The deployment that ends a mutual wait of chains, and why; empty if there is none.

    `deployments` are those of the chains. One waits for the earlier blocks of its chain, and for those of
    its application that the agent runs before it: of another commit.
    """
    unfinished = {each.id: each for each in deployments if not each.status.final}
    waits = _waits_in_queues(unfinished.values())
    for chain in chains:
        earlier: list[str] = []
        for block in chain.blocks:
            ids = {node.deployment_ref.deployment_id for node in block.nodes} & unfinished.keys()
            for waiting in ids:
                if unfinished[waiting].status is DeploymentStatus.PENDING:
                    waits[waiting] += earlier
            earlier += sorted(ids)
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        cycle: Sequence[_Waiting] = error.args[1]
    else:
        return {}
    chain_of = {each: unfinished[each].chain_id for each in cycle if isinstance(each, str)}
    by_id = {chain.id: chain for chain in chains if chain.id in chain_of.values()}
    # Those that wait for their chain: the agent runs them, so that they can be cancelled.
    running = [
        waiting
        for awaited, waiting in pairwise(cycle)
        if isinstance(waiting, str)
        and isinstance(awaited, str)
        and unfinished[waiting].chain_id == unfinished[awaited].chain_id
    ]
    newest = max(running, key=lambda each: (by_id[chain_of[each]].created_at, chain_of[each], each))
    names = sorted({chain.blocks[0].nodes[0].application_ref.application_name for chain in by_id.values()})
    reason = f"the deployment chains of {' and '.join(names)} wait for each other, and this is the newest"
    return {newest: reason}


def _waits_in_queues(deployments: Iterable[Deployment]) -> defaultdict[_Waiting, list[_Waiting]]:
    """What each waits for in the queue of its application."""
    queues: dict[str, list[Deployment]] = {}
    for deployment in deployments:
        queues.setdefault(deployment.application_id, []).append(deployment)
    waits: defaultdict[_Waiting, list[_Waiting]] = defaultdict(list)
    for application_id, queue in queues.items():
        places = groupby(order_queue(queue), key=lambda each: each.trigger.commit.hash)
        for place, (_, members) in enumerate(places):
            for member in members:
                waits[application_id, place].append(member.id)
                if place and not member.status.active:
                    waits[member.id].append((application_id, place - 1))
    return waits


def build_cancel(deployment: WireDeployment, reason: str, now: int) -> Command:
    """Its id is derived from the deployment, so that a repetition is recognized."""
    payload = Command.CancelDeployment(deployment_id=deployment.id, comment=reason[:1000])
    command = commands.build(
        deployment.project_id, deployment.piped_id, CANCELLED_BY, now, cancel_deployment=payload
    )
    command.id = str(uuid.uuid5(NAMESPACE, f"cancel/{deployment.deployment_chain_id}/{deployment.id}"))
    command.application_id = deployment.application_id
    return command
