"""`pipectl notification …`: receivers of notifications, of an agent or of the project, and test messages."""

from collections.abc import Sequence
from functools import partial

import click

from pipecd.client import Client
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.name_completion import complete_pipeds
from pipecd.pipectl.names import find_piped
from pipecd.pipectl.output import Output, View, echo, format_age, list_view, show, view_options
from pipecd.pipectl.unsupported import unsupported_means
from pipecd.schema.pipecd.v1.notifications_pb2 import (
    ListProjectReceiversRequest,
    ListProjectReceiversResponse,
    ListReceiversRequest,
    ListReceiversResponse,
    ReceiverStatus,
    TestProjectReceiverRequest,
    TestReceiverRequest,
)

_ID = click.option(
    "--piped-id",
    shell_complete=complete_pipeds,
    help="Piped id or name. Without it, the receivers of the project are meant.",
)
_supported = partial(unsupported_means, "this control plane does not know receivers of notifications")


@click.command("list")
@_ID
@view_options
@with_client
async def list_command(client: Client, *, piped_id: str | None, output: Output) -> None:
    """List the receivers of a piped or of the project, with their last results."""
    if piped_id:
        piped_id = await find_piped(client, piped_id)

    async def fetch() -> ListReceiversResponse | ListProjectReceiversResponse:
        with _supported():
            if piped_id:
                return await client.call(
                    client.program.ListReceivers, ListReceiversRequest(piped_id=piped_id)
                )
            return await client.call(client.program.ListProjectReceivers, ListProjectReceiversRequest())

    await show(client.clock, fetch, _list_view, output)


def _list_view(response: ListReceiversResponse | ListProjectReceiversResponse) -> View:
    if isinstance(response, ListReceiversResponse):
        rows = [[receiver.name, *_row(receiver)] for receiver in response.receivers]
        empty = "The piped has no receivers, or has not reported them."
        return list_view(["NAME", *_COLUMNS], rows, empty=empty)
    rows = [
        [
            receiver.name,
            receiver.destination,
            ",".join(receiver.events) or "all",
            ",".join(receiver.piped_ids) or "all",
            *_row(receiver),
        ]
        for receiver in response.receivers
    ]
    columns = ["NAME", "DESTINATION", "EVENTS", "PIPEDS", *_COLUMNS]
    return list_view(columns, rows, empty="The project has no receivers.")


_COLUMNS = ("TYPE", "STATE", "WAITING", "LAST SENT", "LAST FAILED", "ERROR")


def _row(receiver: ReceiverStatus) -> Sequence[str]:
    return (
        receiver.type,
        state_of(receiver),
        str(receiver.waiting),
        format_age(receiver.succeeded_at),
        format_age(receiver.failed_at),
        receiver.error,
    )


def state_of(receiver: ReceiverStatus) -> str:
    """By the last attempt."""
    if not receiver.succeeded_at and not receiver.failed_at:
        return "UNUSED"
    return "FAILING" if receiver.failed_at > receiver.succeeded_at else "OK"


@click.command()
@_ID
@click.option("--receiver", required=True, help="Name of the receiver.")
@with_client
async def test(client: Client, *, piped_id: str | None, receiver: str) -> None:
    """Send a test message to a receiver of a piped or of the project.

    Fails if the receiver does not accept the message.
    """
    with _supported():
        if piped_id:
            piped_id = await find_piped(client, piped_id)
            request = TestReceiverRequest(piped_id=piped_id, receiver=receiver)
            await client.call(client.program.TestReceiver, request)
        else:
            of_project = TestProjectReceiverRequest(name=receiver)
            await client.call(client.program.TestProjectReceiver, of_project)
    echo(f"The receiver {receiver} accepted a test message.")
