"""`pipectl audit …`: read, export and verify the audit log. The API key needs the role ADMIN."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import click

from pipecd.client import Client
from pipecd.config.flags import switch
from pipecd.errors import PipecdError, Refused
from pipecd.json_input import decode_json
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.output import Output, View, echo, list_view, page_options, show, view_options
from pipecd.pipectl.values import parse_list
from pipecd.schema.pipecd.v1.audit_pb2 import (
    AuditEntry,
    ListAuditRequest,
    ListAuditResponse,
    VerifyAuditRequest,
    VerifyAuditResponse,
)

_PAGE_SIZE = 200
_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
#: Kinds of actors that `--people` selects.
_PEOPLE = ("person", "api_key", "operator")


def _filters(run: Callable[..., Any]) -> Callable[..., Any]:
    """The filters of a list, which the command receives as keyword arguments."""
    for option in reversed(
        (
            click.option("--since", type=click.DateTime(_TIMES), help="Entries from this time on (UTC)."),
            click.option("--until", type=click.DateTime(_TIMES), help="Entries before this time (UTC)."),
            click.option("--actor", default="", help="Name or id of who made the change."),
            click.option("--action", default="", help="Action, such as AddApplication or sign-in."),
            click.option("--kind", default="", help="Kind of record, such as application or api_key."),
            click.option("--id", "record_id", default="", help="Id of the record."),
            click.option("--operation", multiple=True, help="create, update, delete or refuse."),
            click.option("--search", default="", help="Words that occur in the entry."),
            switch("--people", "Only what people, API keys and operators did, not pipeds and jobs."),
        )
    ):
        run = option(run)
    return run


def _request(
    *,
    since: datetime | None,
    until: datetime | None,
    actor: str,
    action: str,
    kind: str,
    record_id: str,
    operation: tuple[str, ...],
    search: str,
    people: bool,
) -> ListAuditRequest:
    return ListAuditRequest(
        since=_seconds(since),
        until=_seconds(until),
        actor=actor,
        action=action,
        record_kind=kind,
        record_id=record_id,
        operations=parse_list(operation),
        search=search,
        actor_kinds=_PEOPLE if people else (),
    )


def _seconds(time: datetime | None) -> int:
    return int(time.replace(tzinfo=UTC).timestamp()) if time else 0


@click.command("list")
@_filters
@page_options(50)
@view_options
@with_client
async def list_command(client: Client, *, limit: int, cursor: str, output: Output, **filters: Any) -> None:
    """List who changed what, newest first."""
    request = _request(**filters)
    request.page_size, request.cursor = limit, cursor

    async def fetch() -> ListAuditResponse:
        return await client.call(client.program.ListAudit, request)

    await show(client.clock, fetch, lambda response: _list_view(response, output), output)


def _list_view(response: ListAuditResponse, output: Output) -> View:
    columns = ["TIME", "ACTOR", "SUMMARY"]
    rows = [
        [
            f"{datetime.fromtimestamp(entry.at // 1_000_000, UTC):%Y-%m-%d %H:%M:%S}",
            entry.actor_name or entry.actor_id,
            entry.summary,
        ]
        for entry in response.entries
    ]
    if output.wide:
        columns += ["ADDRESS", "KIND", "ID", "CHANGED"]
        for row, entry in zip(rows, response.entries, strict=True):
            row += [
                entry.address,
                entry.record_kind,
                entry.record_id,
                ",".join(change.path for change in entry.changes),
            ]
    return list_view(columns, rows, empty="No entry matches.", cursor=response.next_cursor)


@click.command()
@_filters
@click.option(
    "--format",
    "format_",
    type=click.Choice(["jsonl", "cloudevents"]),
    default="jsonl",
    show_default=True,
    help="JSON lines with all fields, or a CloudEvents 1.0 JSON object in each line.",
)
@with_client
async def export(client: Client, *, format_: str, **filters: Any) -> None:
    """Write the audit log to standard output, oldest first, one JSON object in each line."""
    convert = _cloud_event if format_ == "cloudevents" else _json_object
    async for entry in _entries(client, _request(**filters)):
        echo(json.dumps(convert(entry)))


async def _entries(client: Client, request: ListAuditRequest) -> AsyncIterator[AuditEntry]:
    request.page_size, request.oldest_first, request.with_content = _PAGE_SIZE, True, True
    while True:
        response = await client.call(client.program.ListAudit, request)
        for entry in response.entries:
            yield entry
        if not response.next_cursor:
            return
        request.cursor = response.next_cursor


def _json_object(entry: AuditEntry) -> dict[str, Any]:
    """The content as it is hashed, and what belongs to it."""
    content = decode_json(entry.content)
    return {
        **content,
        "id": entry.id,
        "time": _rfc3339(entry.at),
        "before": decode_json(content["before"]),
        "after": decode_json(content["after"]),
        "record_name": entry.record_name,
        "summary": entry.summary,
        "position": entry.position,
        "hash": entry.hash.hex(),
    }


def _cloud_event(entry: AuditEntry) -> dict[str, Any]:
    """https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md"""
    data = _json_object(entry)
    action = entry.action.rpartition("/")[2]
    return {
        "specversion": "1.0",
        "id": f"{data['project_id']}/{entry.id}",
        "source": f"/projects/{data['project_id']}",
        "type": f"dev.pipecd.audit.v1.{action}",
        "subject": f"{entry.record_kind}/{entry.record_id}",
        "time": data["time"],
        "datacontenttype": "application/json",
        "data": data,
    }


def _rfc3339(microseconds: int) -> str:
    seconds, fraction = divmod(microseconds, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:06d}Z"


@click.command()
@click.option(
    "--known",
    default="",
    metavar="POSITION:HASH",
    help="Last line of an earlier verification: also verifies that the log still contains that entry.",
)
@with_client
async def verify(client: Client, *, known: str) -> None:
    """Verify that no entry was changed or removed. Prints the newest entry's position and hash."""
    request = VerifyAuditRequest()
    if known:
        position, _, digest = known.partition(":")
        try:
            request.known_position, request.known_hash = int(position), bytes.fromhex(digest)
        except ValueError:
            raise click.UsageError("--known must have the form POSITION:HASH") from None
    response = await client.call(client.program.VerifyAudit, request)
    while not response.completed:
        request = VerifyAuditRequest(
            after_position=response.verified_position, after_hash=response.verified_hash
        )
        response = await client.call(client.program.VerifyAudit, request)
    if response.broken_reason:
        raise _broken(response)
    entries = response.head_position - response.anchor_position
    echo(f"{entries} entries are unchanged.")
    if response.anchor_position:
        echo(f"Entries up to {response.anchor_position} were deleted because of their age.")
    echo(f"{response.head_position}:{response.head_hash.hex()}")


def _broken(response: VerifyAuditResponse) -> PipecdError:
    text = f"entry {response.broken_position} of the audit log: {response.broken_reason}"
    if response.HasField("broken_entry"):
        entry = response.broken_entry
        text += f" ({_rfc3339(entry.at)}, {entry.actor_name} {entry.summary})"
    return Refused(text)
