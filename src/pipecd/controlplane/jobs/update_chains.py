"""Copies the status of each deployment to the deployment chain it belongs to.

Runs when a deployment or a command changes; its interval is the safety net. It writes nothing that
it could not derive again, so a run that was killed is completed by the next one.
"""

from pipecd.controlplane.records import chains
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.model.actor import Actor
from pipecd.schema.model.chain_pb2 import DeploymentChain
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.deployment_pb2 import Deployment


async def run(services: Services, by: Actor) -> None:
    for chain in await lists.unfinished_chains(services.store):
        deployments = await _load_deployments(services, chain)
        commands = await _load_commands(services, chain)
        before = DeploymentChain()
        before.CopyFrom(chain)
        chains.update_statuses(chain, deployments, commands, chain.updated_at)
        if chain != before:
            now = services.now()
            await services.store.update(
                DeploymentChain,
                chain.id,
                lambda record, d=deployments, c=commands, n=now: chains.update_statuses(record, d, c, n),  # type: ignore[misc]
                by=by,
            )


async def _load_deployments(services: Services, chain: DeploymentChain) -> list[Deployment]:
    ids = [node.deployment_ref.deployment_id for block in chain.blocks for node in block.nodes]
    return await lists.by_ids(services.store, Deployment, filter(None, ids))


async def _load_commands(services: Services, chain: DeploymentChain) -> dict[str, Command]:
    """The commands of the nodes that have no deployment, by id."""
    ids = [
        chains.command_id(chain.id, index, node.application_ref.application_id)
        for index, block in enumerate(chain.blocks)
        for node in block.nodes
        if not node.HasField("deployment_ref")
    ]
    return {command.id: command for command in await lists.by_ids(services.store, Command, ids)}
