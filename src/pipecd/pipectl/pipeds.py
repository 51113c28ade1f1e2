"""`pipectl piped …`: list, enable and disable agents."""

import click

from pipecd.client import Client
from pipecd.config.flags import switch
from pipecd.errors import Unsupported
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.output import format_age, output_option, print_json, print_table
from pipecd.schema.api.pipeds_pb2 import DisablePipedRequest, EnablePipedRequest
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.pipecd.v1.program_pb2 import ListPipedsRequest

_ID = click.option("--piped-id", required=True, help="Agent id.")


@click.command("list")
@switch("--all", "Include disabled agents.")
@output_option
@with_client
async def list_command(client: Client, *, all: bool, output: str) -> None:
    """List the project's agents."""
    try:
        response = await client.call(client.program.ListPipeds, ListPipedsRequest(with_disabled=all))
    except Unsupported:
        raise Unsupported("this control plane cannot list agents for an API key; use its console") from None
    if output == "json":
        print_json(response)
        return
    rows = (
        (piped.id, piped.name, _status(piped), piped.version, format_age(piped.started_at))
        for piped in response.pipeds
    )
    print_table(
        ("ID", "NAME", "STATUS", "VERSION", "STARTED"),
        rows,
        empty="No agents are registered. Register one in the console.",
    )


@click.command()
@_ID
@with_client
async def enable(client: Client, *, piped_id: str) -> None:
    """Enable an agent."""
    await client.call(client.api.EnablePiped, EnablePipedRequest(piped_id=piped_id))
    click.echo(f"Successfully enabled piped id = {piped_id}")


@click.command()
@_ID
@with_client
async def disable(client: Client, *, piped_id: str) -> None:
    """Disable an agent. It stops immediately."""
    await client.call(client.api.DisablePiped, DisablePipedRequest(piped_id=piped_id))
    click.echo(f"Successfully disabled piped id = {piped_id}")


def _status(piped: Piped) -> str:
    return "DISABLED" if piped.disabled else Piped.ConnectionStatus.Name(piped.status)
