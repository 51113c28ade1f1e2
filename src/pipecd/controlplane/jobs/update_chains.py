"""Copies the status of each deployment to the deployment chain it belongs to, and cancels what chains cancel.

Runs when a deployment or a command changes; its interval is the safety net. It writes nothing that
it could not derive again, so a run that was killed is completed by the next one.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from pipecd.controlplane.records import chain_cancels, chains
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.errors import AlreadyExists
from pipecd.model.actor import Actor
from pipecd.model.status import DeploymentStatus
from pipecd.schema.model.chain_pb2 import DeploymentChain
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.deployment_pb2 import Deployment as WireDeployment
from pipecd.wire import deployment_from

#: What the audit log calls it.
CANCEL = "cancel-in-chain"


async def run(services: Services, by: Actor) -> None:
    unfinished = await lists.unfinished_chains(services.store)
    overlapping = chain_cancels.find_overlapping(unfinished)
    unended: dict[str, WireDeployment] = {}
    cancelled: dict[str, str] = {}
    for chain in unfinished:
        members = await _load_deployments(services, chain)
        await _update(services, chain, members, by)
        siblings = chain_cancels.find_cancelled_siblings(chain)
        cancelled |= siblings
        unended |= {
            member.id: member
            for member in members
            if member.id in siblings
            or (chain.id in overlapping and not DeploymentStatus(member.status).final)
        }
    queued = [deployment_from(each) for each in unended.values() if each.deployment_chain_id in overlapping]
    cancelled |= chain_cancels.find_deadlock(unfinished, queued)
    now = services.now()
    cancels = [chain_cancels.build_cancel(unended[each], reason, now) for each, reason in cancelled.items()]
    await _send(services, cancels, replace(by, action=CANCEL))


async def _update(
    services: Services, chain: DeploymentChain, deployments: Sequence[WireDeployment], by: Actor
) -> None:
    """Update the record and `chain`."""
    commands = await _load_commands(services, chain)
    before = DeploymentChain()
    before.CopyFrom(chain)
    chains.update_statuses(chain, deployments, commands, chain.updated_at)
    if chain != before:
        now = services.now()
        await services.store.update(
            DeploymentChain,
            chain.id,
            lambda record: chains.update_statuses(record, deployments, commands, now),
            by=by,
        )
        for piped_id in chains.find_waiting_agents(before, chain, deployments):
            await services.store.announce(
                chains.TURN, project_id=chain.project_id, id=chain.id, piped_id=piped_id
            )


async def _send(services: Services, commands: Sequence[Command], by: Actor) -> None:
    """Store the commands that were not stored by another run."""
    known = {each.id for each in await lists.by_ids(services.store, Command, [each.id for each in commands])}
    for command in commands:
        if command.id not in known:
            with suppress(AlreadyExists):
                await services.store.create(command, by=by)


async def _load_deployments(services: Services, chain: DeploymentChain) -> list[WireDeployment]:
    ids = [node.deployment_ref.deployment_id for block in chain.blocks for node in block.nodes]
    return await lists.by_ids(services.store, WireDeployment, filter(None, ids))


async def _load_commands(services: Services, chain: DeploymentChain) -> dict[str, Command]:
    """The commands of the nodes that have no deployment, by id."""
    ids = [
        chains.command_id(chain.id, index, node.application_ref.application_id)
        for index, block in enumerate(chain.blocks)
        for node in block.nodes
        if not node.HasField("deployment_ref")
    ]
    return {command.id: command for command in await lists.by_ids(services.store, Command, ids)}
