"""`pipectl piped …`: list, enable and disable agents."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime

import click

from pipecd.client import Client
from pipecd.config.flags import switch
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.name_completion import complete_pipeds
from pipecd.pipectl.names import find_piped
from pipecd.pipectl.output import Output, View, echo, format_age, list_view, show, view_options
from pipecd.pipectl.unsupported import unsupported_means
from pipecd.schema.api.pipeds_pb2 import DisablePipedRequest, EnablePipedRequest
from pipecd.schema.model.piped_pb2 import Piped, PipedKey
from pipecd.schema.pipecd.v1.program_pb2 import ListPipedsRequest, ListPipedsResponse

_ID = click.option("--piped-id", required=True, shell_complete=complete_pipeds, help="Agent id or name.")


@click.command("list")
@switch("--all", "Include disabled agents.")
@view_options
@with_client
async def list_command(client: Client, *, all: bool, output: Output) -> None:
    """List the project's agents."""

    async def fetch() -> ListPipedsResponse:
        with unsupported_means("this control plane cannot list agents for an API key; use its console"):
            return await client.call(client.program.ListPipeds, ListPipedsRequest(with_disabled=all))

    await show(client.clock, fetch, lambda response: _list_view(response, output), output)


def _list_view(response: ListPipedsResponse, output: Output) -> View:
    columns = ["ID", "NAME", "STATUS", "VERSION", "STARTED"]
    rows = [
        [
            output.id(piped.id),
            piped.name,
            status_of(piped, response.not_responding),
            piped.version,
            format_age(piped.started_at),
        ]
        for piped in response.pipeds
    ]
    if output.wide:
        columns += ["KEY EXPIRES", "REPOSITORIES", "DESCRIPTION"]
        for row, piped in zip(rows, response.pipeds, strict=True):
            repositories = ",".join(repository.id for repository in piped.repositories)
            row += [_format_expiry(piped.keys), repositories, piped.desc]
    return list_view(columns, rows, empty="No agents are registered. Register one in the console.")


@click.command()
@_ID
@with_client
async def enable(client: Client, *, piped_id: str) -> None:
    """Enable an agent."""
    piped_id = await find_piped(client, piped_id)
    await client.call(client.api.EnablePiped, EnablePipedRequest(piped_id=piped_id))
    echo(f"Successfully enabled piped id = {piped_id}")


@click.command()
@_ID
@with_client
async def disable(client: Client, *, piped_id: str) -> None:
    """Disable an agent. It stops immediately."""
    piped_id = await find_piped(client, piped_id)
    await client.call(client.api.DisablePiped, DisablePipedRequest(piped_id=piped_id))
    echo(f"Successfully disabled piped id = {piped_id}")


def _format_expiry(keys: Iterable[PipedKey]) -> str:
    """The day on which the last key expires, in UTC."""
    times = [key.expires_at for key in keys]
    if not times or 0 in times:
        return "never"
    return f"{datetime.fromtimestamp(max(times), UTC):%Y-%m-%d}"


def status_of(piped: Piped, not_responding: Collection[str]) -> str:
    if piped.id in not_responding:
        return "NOT_RESPONDING"
    return "DISABLED" if piped.disabled else Piped.ConnectionStatus.Name(piped.status)
