"""`pipectl event …`: register events."""

import click

from pipecd.client import Client
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.output import echo
from pipecd.pipectl.values import parse_pairs
from pipecd.schema.api.events_pb2 import RegisterEventRequest


@click.command()
@click.option("--name", required=True, help="Event name, as in event watcher configurations.")
@click.option("--data", required=True, help="New value, such as an image tag.")
@click.option("--labels", multiple=True, metavar="K=V,…", help="Labels; event watchers match them.")
@click.option("--contexts", multiple=True, metavar="K=V,…", help="Added to the commit as trailers.")
@click.option("--commit-hash", default="", help="Hash of the commit that caused the event.")
@click.option("--commit-title", default="", help="First line of the commit's message.")
@click.option("--commit-message", default="", help="The commit's message.")
@click.option("--commit-url", default="", help="URL of the commit's page.")
@click.option("--commit-author", default="", help="Author of the commit.")
@click.option("--commit-timestamp", type=int, default=0, help="Time of the commit, in epoch seconds.")
@with_client
async def register(
    client: Client, *, labels: tuple[str, ...], contexts: tuple[str, ...], **fields: str | int
) -> None:
    """Register an event and print its id."""
    request = RegisterEventRequest(
        labels=parse_pairs(labels, "=", "--labels"),
        contexts=parse_pairs(contexts, "=", "--contexts"),
        **fields,  # type: ignore[arg-type]
    )
    response = await client.call(client.api.RegisterEvent, request)
    echo(f"Successfully registered event {response.event_id}")
