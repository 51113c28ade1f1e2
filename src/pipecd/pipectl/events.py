"""`pipectl event …`."""

import click

from pipecd.client import Client
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.values import pairs
from pipecd.schema.api.events_pb2 import RegisterEventRequest


@click.command()
@click.option("--name", required=True, help="What kind of event, as event watchers know it.")
@click.option("--data", required=True, help="The new value, such as an image's tag.")
@click.option("--labels", multiple=True, metavar="K=V,…", help="They are part of the event's identity.")
@click.option("--contexts", multiple=True, metavar="K=V,…", help="Written into the commit's trailers.")
@click.option("--commit-hash", default="")
@click.option("--commit-title", default="")
@click.option("--commit-message", default="")
@click.option("--commit-url", default="")
@click.option("--commit-author", default="")
@click.option("--commit-timestamp", type=int, default=0, help="Epoch seconds.")
@with_client
async def register(
    client: Client, *, labels: tuple[str, ...], contexts: tuple[str, ...], **fields: str | int
) -> None:
    """Register an event and print its id."""
    request = RegisterEventRequest(
        labels=pairs(labels, "=", "--labels"),
        contexts=pairs(contexts, "=", "--contexts"),
        **fields,  # type: ignore[arg-type]
    )
    answer = await client.call(client.api.RegisterEvent, request)
    click.echo(f"Successfully registered event {answer.event_id}")
