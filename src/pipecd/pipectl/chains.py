"""`pipectl chain …`: deployment chains and what their deployments wait for."""

from functools import partial

import click

from pipecd.client import Client
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.names import find_chain
from pipecd.pipectl.output import (
    Output,
    View,
    fields,
    format_age,
    list_view,
    page_options,
    show,
    table,
    view_options,
)
from pipecd.pipectl.unsupported import unsupported_means
from pipecd.pipectl.values import status_name
from pipecd.schema.model.chain_pb2 import (
    ChainBlock,
    ChainBlockStatus,
    ChainFailurePolicy,
    ChainNode,
    ChainStatus,
    DeploymentChain,
)
from pipecd.schema.web.chains_pb2 import (
    GetDeploymentChainRequest,
    ListDeploymentChainsRequest,
    ListDeploymentChainsResponse,
)

#: Applications of a block that the list names.
_MAX_NAMES = 3
_supported = partial(
    unsupported_means, "this control plane cannot show chains for an API key; use its console"
)


@click.command("list")
@page_options()
@view_options
@with_client
async def list_command(client: Client, *, cursor: str, limit: int, output: Output) -> None:
    """List deployment chains, most recently changed first."""
    request = ListDeploymentChainsRequest(page_size=limit, cursor=cursor)

    async def fetch() -> ListDeploymentChainsResponse:
        with _supported():
            return await client.call(client.program.ListDeploymentChains, request)

    await show(client.clock, fetch, lambda response: _list_view(response, output), output)


def _list_view(response: ListDeploymentChainsResponse, output: Output) -> View:
    rows = [
        [
            output.id(chain.id),
            _chain_status(chain),
            " → ".join(_block_names(block, output) for block in chain.blocks),
            format_age(chain.created_at),
        ]
        for chain in response.deployment_chains
    ]
    empty = "No application has started a deployment chain (postSync.chain)."
    return list_view(["ID", "STATUS", "BLOCKS", "CREATED"], rows, empty=empty, cursor=response.cursor)


def _block_names(block: ChainBlock, output: Output) -> str:
    names = [node.application_ref.application_name for node in block.nodes]
    shown = names if output.wide else names[:_MAX_NAMES]
    more = f" +{len(names) - len(shown)}" if len(shown) < len(names) else ""
    return ", ".join(shown) + more


@click.command()
@click.option("--chain-id", required=True, help="Chain id, as `pipectl chain list` shows it.")
@view_options
@with_client
async def get(client: Client, *, chain_id: str, output: Output) -> None:
    """Show one chain: its blocks, their deployments, and what these wait for."""

    async def fetch() -> DeploymentChain:
        return (await client.call(client.program.GetDeploymentChain, request)).deployment_chain

    with _supported():
        request = GetDeploymentChainRequest(deployment_chain_id=await find_chain(client, chain_id))
        await show(client.clock, fetch, lambda chain: _details(chain, output), output)


def _details(chain: DeploymentChain, output: Output) -> View:
    cancels = chain.on_failure == ChainFailurePolicy.CHAIN_FAILURE_CANCEL
    details = fields(
        [
            ("Id", chain.id),
            ("Status", _chain_status(chain)),
            ("On failure", "cancel" if cancels else "finish"),
            ("Created", format_age(chain.created_at)),
            ("Completed", format_age(chain.completed_at) if chain.completed_at else ""),
        ]
    )
    rows = [
        (
            f"{number} {_block_status(block)}" if not index else "",
            node.application_ref.application_name,
            *_deployment(node, output),
        )
        for number, block in enumerate(chain.blocks, start=1)
        for index, node in enumerate(block.nodes)
    ]
    nodes = table(("BLOCK", "APPLICATION", "STATUS", "DEPLOYMENT", "REASON"), rows)
    return View(parts=[details, "", nodes] if nodes else [details], final=bool(chain.completed_at))


def _deployment(node: ChainNode, output: Output) -> tuple[str, str, str]:
    if not node.HasField("deployment_ref"):
        return "", "", "no deployment yet"
    ref = node.deployment_ref
    return status_name(ref.status), output.id(ref.deployment_id), ref.status_reason


def _chain_status(chain: DeploymentChain) -> str:
    return ChainStatus.Name(chain.status).removeprefix("DEPLOYMENT_CHAIN_")


def _block_status(block: ChainBlock) -> str:
    return ChainBlockStatus.Name(block.status).removeprefix("DEPLOYMENT_BLOCK_")
