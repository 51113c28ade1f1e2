"""Carries the statuses of deployments over to the chains they belong to."""

from pipecd.controlplane.records import chains
from pipecd.controlplane.services import Plane
from pipecd.controlplane.store import lists
from pipecd.errors import NotFound
from pipecd.schema.model.chain_pb2 import DeploymentChain
from pipecd.schema.model.deployment_pb2 import Deployment


async def run(plane: Plane) -> None:
    for chain in await lists.unfinished_chains(plane.store):
        found = await _deployments(plane, chain)
        before = DeploymentChain()
        before.CopyFrom(chain)
        chains.carry(chain, found, chain.updated_at)
        if chain != before:
            now = plane.now()
            await plane.store.update(
                DeploymentChain,
                chain.id,
                lambda record, f=found, n=now: chains.carry(record, f, n),  # type: ignore[misc]
            )


async def _deployments(plane: Plane, chain: DeploymentChain) -> list[Deployment]:
    ids = [node.deployment_ref.deployment_id for block in chain.blocks for node in block.nodes]
    found = []
    for deployment_id in filter(None, ids):
        try:
            found.append((await plane.store.get(Deployment, deployment_id)).message)
        except NotFound:
            continue
    return found
