"""Copies the status of each deployment to the deployment chain it belongs to."""

from pipecd.controlplane.records import chains
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.errors import NotFound
from pipecd.model.actor import Actor
from pipecd.schema.model.chain_pb2 import DeploymentChain
from pipecd.schema.model.deployment_pb2 import Deployment


async def run(services: Services, by: Actor) -> None:
    for chain in await lists.unfinished_chains(services.store):
        deployments = await _load_deployments(services, chain)
        before = DeploymentChain()
        before.CopyFrom(chain)
        chains.update_statuses(chain, deployments, chain.updated_at)
        if chain != before:
            now = services.now()
            await services.store.update(
                DeploymentChain,
                chain.id,
                lambda record, d=deployments, n=now: chains.update_statuses(record, d, n),  # type: ignore[misc]
                by=by,
            )


async def _load_deployments(services: Services, chain: DeploymentChain) -> list[Deployment]:
    ids = [node.deployment_ref.deployment_id for block in chain.blocks for node in block.nodes]
    deployments = []
    for deployment_id in filter(None, ids):
        try:
            deployments.append((await services.store.get(Deployment, deployment_id)).message)
        except NotFound:
            continue
    return deployments
