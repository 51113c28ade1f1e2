"""`pipectl piped …`."""

import click

from pipecd.client import Client
from pipecd.config.flags import switch
from pipecd.errors import Unsupported
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.output import ago, as_json, output_option, table
from pipecd.schema.api.pipeds_pb2 import DisablePipedRequest, EnablePipedRequest
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.pipecd.v1.program_pb2 import ListPipedsRequest

_ID = click.option("--piped-id", required=True, help="The agent's id.")


@click.command("list")
@switch("--all", "Disabled ones too.")
@output_option
@with_client
async def list_command(client: Client, *, all: bool, output: str) -> None:
    """List the project's agents."""
    try:
        answer = await client.call(client.program.ListPipeds, ListPipedsRequest(with_disabled=all))
    except Unsupported:
        raise Unsupported("this control plane cannot list agents for an API key; see its console") from None
    if output == "json":
        as_json(answer)
        return
    rows = ((one.id, one.name, _status(one), one.version, ago(one.started_at)) for one in answer.pipeds)
    table(
        ("ID", "NAME", "STATUS", "VERSION", "STARTED"),
        rows,
        empty="No agent is registered; the console does it.",
    )


@click.command()
@_ID
@with_client
async def enable(client: Client, *, piped_id: str) -> None:
    """Let an agent work."""
    await client.call(client.api.EnablePiped, EnablePipedRequest(piped_id=piped_id))
    click.echo(f"Successfully enabled piped id = {piped_id}")


@click.command()
@_ID
@with_client
async def disable(client: Client, *, piped_id: str) -> None:
    """Keep an agent from working, at once."""
    await client.call(client.api.DisablePiped, DisablePipedRequest(piped_id=piped_id))
    click.echo(f"Successfully disabled piped id = {piped_id}")


def _status(one: Piped) -> str:
    return "DISABLED" if one.disabled else Piped.ConnectionStatus.Name(one.status)
