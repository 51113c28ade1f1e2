"""`pipectl session …`: who is signed in to the console."""

import click

from pipecd.client import Client
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.output import Output, View, echo, format_age, list_view, show, view_options
from pipecd.pipectl.unsupported import of_settings
from pipecd.schema.pipecd.v1.sessions_pb2 import (
    EndSessionsRequest,
    ListSessionsRequest,
    ListSessionsResponse,
)

_USER = click.option("--username", default="", help="Only sessions of this user.")


@click.command("list")
@_USER
@view_options
@with_client
async def list_command(client: Client, *, username: str, output: Output) -> None:
    """List the sessions of the console, most recently used first."""

    async def fetch() -> ListSessionsResponse:
        return await _fetch(client, username)

    await show(client.clock, fetch, lambda response: _list_view(response, output), output)


async def _fetch(client: Client, username: str) -> ListSessionsResponse:
    with of_settings():
        return await client.call(client.program.ListSessions, ListSessionsRequest(username=username))


def _list_view(response: ListSessionsResponse, output: Output) -> View:
    columns = ["ID", "USER", "SIGN-IN", "ROLES", "ADDRESS", "STARTED", "LAST USED"]
    rows = [
        [
            session.id,
            session.username,
            session.source,
            ",".join(session.roles),
            session.last_address or session.address,
            format_age(session.started_at),
            format_age(session.last_seen_at),
        ]
        for session in response.sessions
    ]
    if output.wide:
        columns += ["BROWSER", "GROUPS"]
        for row, session in zip(rows, response.sessions, strict=True):
            row += [session.browser, ",".join(session.groups)]
    return list_view(columns, rows, empty="No user is signed in.")


@click.command()
@click.option("--id", "ids", multiple=True, help="Id of a session.")
@_USER
@click.option("--all", "all_", is_flag=True, help="All sessions of the project.")
@with_client
async def end(client: Client, *, ids: tuple[str, ...], username: str, all_: bool) -> None:
    """End sessions: their users have to sign in again."""
    if sum(map(bool, (ids, username, all_))) != 1:
        raise click.UsageError("use one of --id, --username and --all")
    if username:
        ids = tuple(session.id for session in (await _fetch(client, username)).sessions)
    with of_settings():
        response = await client.call(client.program.EndSessions, EndSessionsRequest(ids=ids, all_others=all_))
    echo(f"Ended {response.ended} {'session' if response.ended == 1 else 'sessions'}.")
