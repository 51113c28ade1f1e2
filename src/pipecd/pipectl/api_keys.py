"""`pipectl api-key …`: list, create and disable the API keys of the project."""

import time
from datetime import timedelta

import click

from pipecd.client import Client
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.durations import parse_duration
from pipecd.pipectl.output import Output, View, echo, format_age, list_view, show, view_options
from pipecd.pipectl.unsupported import of_settings
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.web.api_keys_pb2 import (
    DisableAPIKeyRequest,
    GenerateAPIKeyRequest,
    ListAPIKeysRequest,
    ListAPIKeysResponse,
)

_ROLES = {"read-only": APIKey.READ_ONLY, "read-write": APIKey.READ_WRITE, "admin": APIKey.ADMIN}
_DAY = 24 * 3600


@click.command("list")
@view_options
@with_client
async def list_command(client: Client, *, output: Output) -> None:
    """List the API keys: role, last use and expiry."""

    async def fetch() -> ListAPIKeysResponse:
        with of_settings():
            return await client.call(client.program.ListAPIKeys, ListAPIKeysRequest())

    await show(client.clock, fetch, lambda response: _list_view(response, output), output)


def _list_view(response: ListAPIKeysResponse, output: Output) -> View:
    now = int(time.time())
    columns = ["ID", "NAME", "ROLE", "STATUS", "LAST USED", "EXPIRES"]
    rows = [
        [
            key.id,
            key.name,
            APIKey.Role.Name(key.role),
            _status(key, now),
            format_age(key.last_used_at),
            _expiry(key.expires_at, now),
        ]
        for key in response.keys
    ]
    if output.wide:
        columns += ["CREATOR", "CREATED"]
        for row, key in zip(rows, response.keys, strict=True):
            row += [key.creator, format_age(key.created_at)]
    return list_view(columns, rows, empty="The project has no API keys.")


def _status(key: APIKey, now: int) -> str:
    if key.disabled:
        return "DISABLED"
    return "EXPIRED" if 0 < key.expires_at <= now else "ENABLED"


def _expiry(at: int, now: int) -> str:
    if not at:
        return "never"
    return f"in {(at - now) // _DAY} d" if at > now else format_age(at)


@click.command()
@click.option("--name", required=True, help="For example, the program that will use the key.")
@click.option(
    "--role", type=click.Choice(list(_ROLES)), default="read-only", show_default=True, help="What it may do."
)
@click.option(
    "--valid-for",
    default="8760h",
    show_default=True,
    callback=parse_duration,
    help="How long it is valid, such as 2160h; 0s: as long as the control plane allows.",
)
@with_client
async def create(client: Client, *, name: str, role: str, valid_for: timedelta) -> None:
    """Create an API key. It is printed once, alone, to standard output."""
    request = GenerateAPIKeyRequest(name=name, role=_ROLES[role], key_lifetime=int(valid_for.total_seconds()))
    with of_settings():
        response = await client.call(client.program.GenerateAPIKey, request)
    echo(response.key)
    echo(f"Created the API key {name}. Store it now: it cannot be shown again.", err=True)


@click.command()
@click.option("--id", "key_id", required=True, help="Id of the key.")
@with_client
async def disable(client: Client, *, key_id: str) -> None:
    """Disable an API key, for good and at once."""
    with of_settings():
        await client.call(client.program.DisableAPIKey, DisableAPIKeyRequest(id=key_id))
    echo(f"Disabled the API key {key_id}.")
