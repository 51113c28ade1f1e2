"""PipedService: deployment chains. The rules are in `controlplane.chains`."""

from collections.abc import Mapping
from uuid import uuid4

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.records import chains, commands
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.piped import owned
from pipecd.controlplane.rpc.piped.deployments import new_deployment
from pipecd.controlplane.services import Plane
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.lists import ApplicationFilter
from pipecd.errors import NotFound, Refused
from pipecd.schema.agent.chains_pb2 import (
    CreateDeploymentChainRequest,
    CreateDeploymentChainResponse,
    InChainDeploymentPlannableRequest,
    InChainDeploymentPlannableResponse,
)
from pipecd.schema.model.chain_pb2 import ChainBlock, DeploymentChain
from pipecd.schema.model.command_pb2 import Command


async def create_chain(
    plane: Plane, agent: Agent, request: CreateDeploymentChainRequest
) -> CreateDeploymentChainResponse:
    """The chain, its first deployment, and a command for each application of the blocks after it."""
    first = await new_deployment(plane, agent, request.first_deployment)
    application = await owned.application(plane, agent, first.application_id)
    enabled = await lists.all_applications(plane.store, agent.project_id, ApplicationFilter(enabled=True))
    later = [chains.matching(matcher, enabled) for matcher in request.matchers]
    now = plane.now()
    chain = DeploymentChain(id=str(uuid4()), project_id=agent.project_id, created_at=now, updated_at=now)
    chain.blocks.append(ChainBlock(nodes=[chains.node(application)]))
    chain.blocks.extend(ChainBlock(nodes=[chains.node(one) for one in block]) for block in later)
    first.deployment_chain_id, first.deployment_chain_block_index = chain.id, 0
    chains.attach(chain, first)
    await plane.store.create(chain)
    await plane.store.create(first)
    for index, block in enumerate(later, start=1):
        for one in block:
            payload = Command.ChainSyncApplication(
                deployment_chain_id=chain.id, block_index=index, application_id=one.id
            )
            command = commands.new(
                agent.project_id, one.piped_id, chain.id, now, chain_sync_application=payload
            )
            await plane.store.create(command)
    return CreateDeploymentChainResponse()


async def plannable(
    plane: Plane, agent: Agent, request: InChainDeploymentPlannableRequest
) -> InChainDeploymentPlannableResponse:
    await owned.deployment(plane, agent, request.deployment_id)
    try:
        chain = (await plane.store.get(DeploymentChain, request.deployment_chain_id)).message
    except NotFound as error:
        raise Refused(str(error)) from None
    if chain.project_id != agent.project_id:
        raise Refused(f"there is no chain {request.deployment_chain_id}")
    return chains.turn(chain, request.deployment_chain_block_index)


HANDLERS: Mapping[str, Handler] = {
    "CreateDeploymentChain": create_chain,
    "InChainDeploymentPlannable": plannable,
}
