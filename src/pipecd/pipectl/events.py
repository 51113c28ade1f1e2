"""`pipectl event …`: register and list events."""

import click

from pipecd.client import Client
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.output import Output, View, echo, format_age, list_view, page_options, show, view_options
from pipecd.pipectl.unsupported import unsupported_means
from pipecd.pipectl.values import parse_list, parse_pairs
from pipecd.schema.api.events_pb2 import RegisterEventRequest
from pipecd.schema.model.event_pb2 import Event, EventStatus
from pipecd.schema.web.events_pb2 import ListEventsRequest, ListEventsResponse

_PREFIX = "EVENT_"
#: Characters of the data of an event in a table.
_DATA_SHOWN = 60


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


@click.command("list")
@click.option("--name", default="", help="Only events with this text in their names.")
@click.option("--status", multiple=True, help="Status: NOT_HANDLED, SUCCESS, FAILURE or OUTDATED.")
@click.option("--label", "labels", multiple=True, metavar="KEY:VALUE", help="Only events with this label.")
@page_options()
@view_options
@with_client
async def list_command(
    client: Client,
    *,
    name: str,
    status: tuple[str, ...],
    labels: tuple[str, ...],
    cursor: str,
    limit: int,
    output: Output,
) -> None:
    """List events, most recently changed first, with what each event watcher did with them."""
    options = ListEventsRequest.Options(
        search=name, statuses=_parse_statuses(status), labels=parse_pairs(labels, ":", "--label")
    )
    request = ListEventsRequest(options=options, page_size=limit, cursor=cursor)

    async def fetch() -> ListEventsResponse:
        with unsupported_means("this control plane cannot list events for an API key; use its console"):
            return await client.call(client.program.ListEvents, request)

    await show(client.clock, fetch, lambda response: _list_view(response, output), output)


def _parse_statuses(texts: tuple[str, ...]) -> list[EventStatus.ValueType]:
    names = [item.upper().removeprefix(_PREFIX) for item in parse_list(texts)]
    known = {key.removeprefix(_PREFIX): value for key, value in EventStatus.items()}
    for each in names:
        if each not in known:
            raise click.UsageError(f"--status: {each!r} is not one of {', '.join(known)}")
    return [known[each] for each in names]


def _list_view(response: ListEventsResponse, output: Output) -> View:
    columns = ["ID", "NAME", "DATA", "STATUS", "RESULT", "REGISTERED"]
    rows = [
        [
            output.id(event.id),
            event.name,
            event.data if output.wide else event.data[:_DATA_SHOWN],
            _status_name(event.status),
            _result(event),
            format_age(event.created_at),
        ]
        for event in response.events
    ]
    if output.wide:
        columns.append("LABELS")
        for row, event in zip(rows, response.events, strict=True):
            row.append(",".join(f"{key}:{value}" for key, value in sorted(event.labels.items())))
    empty = "No events match. Register one with `pipectl event register`."
    return list_view(columns, rows, empty=empty, cursor=response.cursor)


def _status_name(status: EventStatus.ValueType) -> str:
    name = EventStatus.Name(status) if status in EventStatus.values() else str(status)
    return name.removeprefix(_PREFIX)


def _result(event: Event) -> str:
    """One part per event watcher: its name, and the pull request, the commit or the error."""
    if not event.results:
        return "" if event.status == EventStatus.EVENT_NOT_HANDLED else event.status_description
    return "; ".join(
        f"{result.name or result.watcher}: "
        + (
            result.description
            if result.status == EventStatus.EVENT_FAILURE
            else result.pull_request_url or result.commit_hash[:7] or result.description
        )
        for result in event.results
    )
