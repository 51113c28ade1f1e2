"""`pipectl notification …`: the receivers of an agent's notifications, and test messages."""

import click

from pipecd.client import Client
from pipecd.errors import Unsupported
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.name_completion import complete_pipeds
from pipecd.pipectl.names import find_piped
from pipecd.pipectl.output import Output, View, echo, format_age, list_view, show, view_options
from pipecd.schema.pipecd.v1.notifications_pb2 import (
    ListReceiversRequest,
    ListReceiversResponse,
    ReceiverStatus,
    TestReceiverRequest,
)

_ID = click.option("--piped-id", required=True, shell_complete=complete_pipeds, help="Agent id or name.")
_UNSUPPORTED = "this control plane does not know the receivers of agents"


@click.command("list")
@_ID
@view_options
@with_client
async def list_command(client: Client, *, piped_id: str, output: Output) -> None:
    """List the receivers of an agent, with their last results."""
    piped_id = await find_piped(client, piped_id)

    async def fetch() -> ListReceiversResponse:
        try:
            return await client.call(client.program.ListReceivers, ListReceiversRequest(piped_id=piped_id))
        except Unsupported:
            raise Unsupported(_UNSUPPORTED) from None

    await show(client.clock, fetch, _list_view, output)


def _list_view(response: ListReceiversResponse) -> View:
    rows = [
        [
            receiver.name,
            receiver.type,
            state_of(receiver),
            str(receiver.waiting),
            format_age(receiver.succeeded_at),
            format_age(receiver.failed_at),
            receiver.error,
        ]
        for receiver in response.receivers
    ]
    columns = ["NAME", "TYPE", "STATE", "WAITING", "LAST SENT", "LAST FAILED", "ERROR"]
    return list_view(columns, rows, empty="The agent has no receivers, or has not reported them.")


def state_of(receiver: ReceiverStatus) -> str:
    """By the last attempt."""
    if not receiver.succeeded_at and not receiver.failed_at:
        return "UNUSED"
    return "FAILING" if receiver.failed_at > receiver.succeeded_at else "OK"


@click.command()
@_ID
@click.option("--receiver", required=True, help="Name of the receiver in the agent's file.")
@with_client
async def test(client: Client, *, piped_id: str, receiver: str) -> None:
    """Have an agent send a test message to a receiver.

    Fails if the receiver does not accept the message.
    """
    piped_id = await find_piped(client, piped_id)
    request = TestReceiverRequest(piped_id=piped_id, receiver=receiver)
    try:
        await client.call(client.program.TestReceiver, request)
    except Unsupported:
        raise Unsupported(_UNSUPPORTED) from None
    echo(f"The receiver {receiver} accepted a test message.")
