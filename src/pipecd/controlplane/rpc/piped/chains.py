"""PipedService: deployment chains. The rules are in `records.chains`."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.records import chains, commands
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.piped import ownership
from pipecd.controlplane.rpc.piped.deployments import build_deployment
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.lists import ApplicationFilter
from pipecd.errors import NotFound, Refused
from pipecd.schema.agent.chains_pb2 import (
    CreateDeploymentChainRequest,
    CreateDeploymentChainResponse,
    InChainDeploymentPlannableRequest,
    InChainDeploymentPlannableResponse,
)
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.chain_pb2 import ChainBlock, DeploymentChain
from pipecd.schema.model.command_pb2 import Command


async def create_chain(
    services: Services, agent: Agent, request: CreateDeploymentChainRequest
) -> CreateDeploymentChainResponse:
    """Create the chain, its first deployment, and a command for each application of the later blocks.

    All of them or, if the deployment exists, none.
    """
    first = await build_deployment(services, agent, request.first_deployment)
    application = await ownership.get_application(services, agent, first.application_id)
    enabled = await lists.all_applications(services.store, agent.project_id, ApplicationFilter(enabled=True))
    limit = services.settings.records.max_chain_applications
    later_blocks = chains.match_blocks(request.matchers, enabled, limit=limit)
    now = services.now()
    chain_id = chains.chain_id(first)
    chain = DeploymentChain(
        id=chain_id,
        project_id=agent.project_id,
        on_failure=request.on_failure,
        created_at=now,
        updated_at=now,
    )
    chain.blocks.append(ChainBlock(nodes=[chains.build_node(application)]))
    chain.blocks.extend(
        ChainBlock(nodes=[chains.build_node(member) for member in block]) for block in later_blocks
    )
    first.deployment_chain_id, first.deployment_chain_block_index = chain.id, 0
    chains.attach(chain, first)
    sync_commands = [
        _build_command(agent, chain, index, member, now)
        for index, block in enumerate(later_blocks, start=1)
        for member in block
    ]
    await services.store.create(first, chain, *sync_commands, by=agent.actor)
    return CreateDeploymentChainResponse()


def _build_command(
    agent: Agent, chain: DeploymentChain, block: int, application: Application, now: int
) -> Command:
    payload = Command.ChainSyncApplication(
        deployment_chain_id=chain.id, block_index=block, application_id=application.id
    )
    command = commands.build(
        agent.project_id, application.piped_id, chain.id, now, chain_sync_application=payload
    )
    command.id = chains.command_id(chain.id, block, application.id)
    return command


async def check_plannable(
    services: Services, agent: Agent, request: InChainDeploymentPlannableRequest
) -> InChainDeploymentPlannableResponse:
    await ownership.get_deployment(services, agent, request.deployment_id)
    try:
        chain = (await services.store.get(DeploymentChain, request.deployment_chain_id)).message
    except NotFound as error:
        raise Refused(str(error)) from None
    if chain.project_id != agent.project_id:
        raise Refused(f"chain {request.deployment_chain_id} does not exist")
    return chains.check_plannable(chain, request.deployment_chain_block_index)


HANDLERS: Mapping[str, Handler] = {
    "CreateDeploymentChain": create_chain,
    "InChainDeploymentPlannable": check_plannable,
}
