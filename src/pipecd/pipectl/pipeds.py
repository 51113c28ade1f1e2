"""`pipectl piped …`: agents, their keys and versions."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial

import click

from pipecd.client import Client
from pipecd.config.flags import switch
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.durations import parse_duration
from pipecd.pipectl.name_completion import complete_pipeds
from pipecd.pipectl.names import find_piped
from pipecd.pipectl.output import Output, View, echo, format_age, list_view, show, view_options
from pipecd.pipectl.unsupported import unsupported_means
from pipecd.schema.api.pipeds_pb2 import (
    DisablePipedRequest,
    EnablePipedRequest,
    GetPipedRequest,
    RegisterPipedRequest,
    UpdatePipedRequest,
)
from pipecd.schema.model.piped_pb2 import Piped, PipedKey
from pipecd.schema.pipecd.v1.program_pb2 import ListPipedsRequest, ListPipedsResponse
from pipecd.schema.web.pipeds_pb2 import (
    DeleteOldPipedKeysRequest,
    RecreatePipedKeyRequest,
    RestartPipedRequest,
    UpdatePipedDesiredVersionRequest,
)

_ID = click.option("--piped-id", required=True, shell_complete=complete_pipeds, help="Piped id or name.")
_DESCRIPTION = click.option("--description", help="What it is for.")
_VALID_FOR = click.option(
    "--valid-for",
    default="0s",
    show_default=True,
    callback=parse_duration,
    help="How long the key is valid, such as 8760h; 0s: as long as the control plane allows.",
)
_of_agents = partial(
    unsupported_means, "this control plane does not change pipeds for API keys; use its console"
)


@click.command("list")
@switch("--all", "Include disabled pipeds.")
@view_options
@with_client
async def list_command(client: Client, *, all: bool, output: Output) -> None:
    """List the project's pipeds."""

    async def fetch() -> ListPipedsResponse:
        with unsupported_means("this control plane cannot list pipeds for an API key; use its console"):
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
    return list_view(columns, rows, empty="No pipeds are registered. Register one in the console.")


@click.command()
@_ID
@with_client
async def enable(client: Client, *, piped_id: str) -> None:
    """Enable a piped."""
    piped_id = await find_piped(client, piped_id)
    await client.call(client.api.EnablePiped, EnablePipedRequest(piped_id=piped_id))
    echo(f"Successfully enabled piped id = {piped_id}")


@click.command()
@_ID
@with_client
async def disable(client: Client, *, piped_id: str) -> None:
    """Disable a piped. It stops immediately."""
    piped_id = await find_piped(client, piped_id)
    await client.call(client.api.DisablePiped, DisablePipedRequest(piped_id=piped_id))
    echo(f"Successfully disabled piped id = {piped_id}")


@click.command()
@click.option("--name", required=True, help="Name of the piped.")
@_DESCRIPTION
@_VALID_FOR
@with_client
async def register(client: Client, *, name: str, description: str | None, valid_for: timedelta) -> None:
    """Register a piped. Its id and its key are printed to standard output, one a line."""
    lifetime = int(valid_for.total_seconds())
    request = RegisterPipedRequest(name=name, desc=description or "", key_lifetime=lifetime)
    response = await client.call(client.api.RegisterPiped, request)
    echo(response.id)
    echo(response.key)
    echo(f"Registered the piped {name}. Store its key now: it cannot be shown again.", err=True)


@click.command()
@_ID
@click.option("--name", help="New name.")
@_DESCRIPTION
@with_client
async def update(client: Client, *, piped_id: str, name: str | None, description: str | None) -> None:
    """Change the name or the description of a piped."""
    if name is None and description is None:
        raise click.UsageError("nothing to change: use --name or --description")
    piped_id = await find_piped(client, piped_id)
    piped = (await client.call(client.api.GetPiped, GetPipedRequest(piped_id=piped_id))).piped
    request = UpdatePipedRequest(
        piped_id=piped_id,
        name=piped.name if name is None else name,
        desc=piped.desc if description is None else description,
    )
    await client.call(client.api.UpdatePiped, request)
    echo(f"Changed the piped {request.name}.")


@click.command("add-key")
@_ID
@_VALID_FOR
@with_client
async def add_key(client: Client, *, piped_id: str, valid_for: timedelta) -> None:
    """Add a second key, which is printed to standard output. The first one stays valid."""
    piped_id = await find_piped(client, piped_id)
    request = RecreatePipedKeyRequest(id=piped_id, key_lifetime=int(valid_for.total_seconds()))
    with _of_agents():
        response = await client.call(client.program.RecreatePipedKey, request)
    echo(response.key)
    echo("Added a key. Store it now; when the piped uses it, delete the old one: delete-old-keys.", err=True)


@click.command("delete-old-keys")
@_ID
@with_client
async def delete_old_keys(client: Client, *, piped_id: str) -> None:
    """Delete all keys of a piped but the newest one. What uses them loses access at once."""
    piped_id = await find_piped(client, piped_id)
    with _of_agents():
        await client.call(client.program.DeleteOldPipedKeys, DeleteOldPipedKeysRequest(piped_id=piped_id))
    echo(f"Deleted the old keys of {piped_id}.")


@click.command()
@_ID
@with_client
async def restart(client: Client, *, piped_id: str) -> None:
    """Restart a piped, which its launcher then starts again."""
    piped_id = await find_piped(client, piped_id)
    with _of_agents():
        await client.call(client.program.RestartPiped, RestartPipedRequest(piped_id=piped_id))
    echo(f"Requested a restart of {piped_id}.")


@click.command()
@click.option(
    "--piped-id",
    "piped_ids",
    required=True,
    multiple=True,
    shell_complete=complete_pipeds,
    help="Piped id or name; can be repeated.",
)
@click.option("--version", required=True, help="Version that their launchers shall run, such as v0.2.0.")
@switch("--allow-downgrade", "Allow a version that is older than the running one.")
@with_client
async def upgrade(client: Client, *, piped_ids: tuple[str, ...], version: str, allow_downgrade: bool) -> None:
    """Set the version of pipeds that are run by launchers."""
    ids = [await find_piped(client, piped_id) for piped_id in piped_ids]
    request = UpdatePipedDesiredVersionRequest(
        piped_ids=ids, version=version, allow_downgrade=allow_downgrade
    )
    with _of_agents():
        await client.call(client.program.UpdatePipedDesiredVersion, request)
    echo(f"Requested version {version} of {', '.join(ids)}.")


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
