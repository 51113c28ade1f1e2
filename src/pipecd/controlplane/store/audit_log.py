"""Reads pages of the audit log, newest or oldest first, with filters.

Filters by project, time and record are read from an index. The others compare rows one by one; a page looks
at `MAX_SCANNED` rows at most, so that it may have fewer entries than its size, or none, and still be followed
by others.
"""

import base64
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from pipecd.controlplane.store import tables
from pipecd.controlplane.store.engine import Database
from pipecd.controlplane.store.lists import included_condition
from pipecd.controlplane.store.statements import Connection
from pipecd.controlplane.store.tables import audit, audit_links
from pipecd.errors import Refused
from pipecd.json_input import decode_json
from pipecd.model.access import Labels

#: Rows that one page may compare with filters that no index answers. Takes some 25 ms, and a search four
#: times as long: it reads the record of each row for its name.
MAX_SCANNED = 10_000
#: Entries per page: the default and the maximum.
DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 50, 200
_MAX_NUMBER = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class AuditFilter:
    """Empty fields match everything. Times are in epoch microseconds: `since ≤ at < until`.

    `actor`: the exact name or id. `action`: an RPC without its service, or the name of another action.
    `search`: words that must occur in a row, or in the present name of the record that it is about,
    case-insensitive.
    """

    since: int = 0
    until: int = 0
    record_id: str = ""
    record_kind: str = ""
    actor: str = ""
    actor_kinds: Collection[str] = ()
    action: str = ""
    operations: Collection[str] = ()
    search: str = ""
    #: By kind: the labels that a record must have by the user's roles, as alternatives, to be found by its
    #: name. A kind that is missing, or has None, is not restricted.
    named: Mapping[str, Sequence[Labels] | None] = field(default_factory=dict)


@dataclass(frozen=True)
class AuditPage:
    """`cursor` is empty on the last page."""

    rows: Sequence[Any]
    cursor: str


async def page(
    database: Database,
    project_id: str,
    filters: AuditFilter,
    *,
    size: int,
    cursor: str,
    oldest_first: bool,
    max_scanned: int = MAX_SCANNED,
) -> AuditPage:
    """Raises Refused for an invalid size or cursor."""
    if not 0 <= size <= MAX_PAGE_SIZE:
        raise Refused(f"the page size must be between 1 and {MAX_PAGE_SIZE}, not {size}")
    size = size or DEFAULT_PAGE_SIZE
    indexed = _indexed_conditions(project_id, filters)
    if cursor:
        indexed.append(_beyond(_decode_cursor(cursor), oldest_first))
    compared = _compared_conditions(project_id, filters, sqlite=database.sqlite)

    def load(connection: Connection) -> AuditPage:
        query = _ENTRIES.where(*indexed)
        limit = (
            connection.execute(_nth_row(indexed, max_scanned, oldest_first)).one_or_none()
            if compared
            else None
        )
        if limit is not None:
            query = query.where(sa.not_(_beyond((limit.at, limit.seq), oldest_first)))
        query = query.where(*compared).order_by(*_order(oldest_first)).limit(size + 1)
        rows = connection.execute(query).all()
        if len(rows) > size:
            rows = rows[:size]
            return AuditPage(rows, _encode_cursor(rows[-1]))
        return AuditPage(rows, _encode_cursor(limit) if limit is not None else "")

    return await database.read(load)


#: With their places in the hash chain, which the newest rows do not have yet.
_ENTRIES = sa.select(audit, audit_links.c.position, audit_links.c.hash).outerjoin_from(
    audit, audit_links, audit_links.c.seq == audit.c.seq
)


def _order(oldest_first: bool) -> Sequence[sa.ColumnElement[Any]]:
    if oldest_first:
        return (audit.c.at, audit.c.seq)
    return (audit.c.at.desc(), audit.c.seq.desc())


def _beyond(position: tuple[int, int], oldest_first: bool) -> sa.ColumnElement[bool]:
    """The rows that follow the one at `position` in the order of the list."""
    here = sa.tuple_(audit.c.at, audit.c.seq)
    there = sa.tuple_(*(sa.literal(number, sa.BigInteger) for number in position))
    return here > there if oldest_first else here < there


def _nth_row(
    indexed: Sequence[sa.ColumnElement[bool]], number: int, oldest_first: bool
) -> sa.Select[tuple[int, int]]:
    query = sa.select(audit.c.at, audit.c.seq).where(*indexed).order_by(*_order(oldest_first))
    return query.offset(number - 1).limit(1)


def _indexed_conditions(project_id: str, filters: AuditFilter) -> list[sa.ColumnElement[bool]]:
    column = audit.c
    return [
        column.project_id == project_id,
        *([column.at >= filters.since] if filters.since else ()),
        *([column.at < filters.until] if filters.until else ()),
        *([column.record_id == filters.record_id] if filters.record_id else ()),
    ]


def _compared_conditions(
    project_id: str, filters: AuditFilter, *, sqlite: bool
) -> Sequence[sa.ColumnElement[bool]]:
    column = audit.c
    text = sa.func.lower(
        column.actor_name
        + " "
        + column.action
        + " "
        + column.record_kind
        + " "
        + column.record_id
        + " "
        + column.address
        + " "
        + column.before
        + " "
        + column.after
    )
    return [
        *([column.record_kind == filters.record_kind] if filters.record_kind else ()),
        *(
            [sa.or_(column.actor_name == filters.actor, column.actor_id == filters.actor)]
            if filters.actor
            else ()
        ),
        *([_any_of(column.actor_kind, filters.actor_kinds)] if filters.actor_kinds else ()),
        *([_any_of(column.operation, filters.operations)] if filters.operations else ()),
        *(
            [
                sa.or_(
                    column.action == filters.action,
                    column.action.endswith(f"/{filters.action}", autoescape=True),
                )
            ]
            if filters.action
            else ()
        ),
        *(
            sa.or_(
                text.contains(word, autoescape=True),
                *_about_named(project_id, word, filters.named, sqlite=sqlite),
            )
            for word in filters.search.lower().split()
        ),
    ]


#: Kinds of records whose present names are found, and the columns with the names.
NAMES: Mapping[str, sa.Column[Any]] = {
    "application": tables.applications.c.name,
    "deployment": tables.deployments.c.words,
    "piped": tables.pipeds.c.name,
    "api_key": tables.api_keys.c.name,
    "event": tables.events.c.name,
}
#: Kinds that a command is about, and the field of the command with the id.
_OF_COMMANDS: Mapping[str, str] = {
    "deployment": "deployment_id",
    "application": "application_id",
    "piped": "piped_id",
}


def _about_named(
    project_id: str, word: str, named: Mapping[str, Sequence[Labels] | None], *, sqlite: bool
) -> Iterator[sa.ColumnElement[bool]]:
    """The row has only the id of a record, or is about a command for it, and the name contains `word`.

    The record is read by its id for each compared row, so that a search takes as long with many records as
    with few, and needs no index of names.
    """
    for kind, name in NAMES.items():
        included = named.get(kind)
        if included is not None and len(included) == 0:
            continue
        record = name.table.c
        has_name = sa.select(record.id).where(
            record.project_id == project_id,
            sa.func.lower(name).contains(word, autoescape=True),
            *(included_condition(record.labels, included) if "labels" in record else ()),
        )
        same_id = has_name.where(record.id == audit.c.record_id)
        yield sa.and_(audit.c.record_kind == kind, sa.exists(same_id))
        if field_of_command := _OF_COMMANDS.get(kind):
            of_command = has_name.where(record.id == _field(audit.c.after, field_of_command, sqlite=sqlite))
            yield sa.and_(audit.c.record_kind == "command", sa.exists(of_command))


def _field(values: sa.Column[Any], name: str, *, sqlite: bool) -> sa.ColumnElement[Any]:
    """The text of a field of canonical JSON, or any other text if there is none. Never fails."""
    key = f'"{name}":"'
    if not sqlite:
        return sa.func.split_part(sa.func.split_part(values, key, 2), '"', 1)
    rest = sa.func.substr(values, sa.func.instr(values, key) + len(key))
    return sa.func.substr(rest, 1, sa.func.instr(rest, '"') - 1)


def _any_of(column: sa.Column[Any], values: Collection[str]) -> sa.ColumnElement[bool]:
    return sa.or_(*(column == value for value in sorted(values)))


def _encode_cursor(row: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps([row.at, row.seq]).encode()).decode()


def _decode_cursor(cursor: str) -> tuple[int, int]:
    """Raises Refused if the cursor is none of ours: what it contains is part of a query."""
    try:
        at, seq = decode_json(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, TypeError):
        at = seq = None
    if (
        type(at) is not int
        or type(seq) is not int
        or not (0 <= at <= _MAX_NUMBER and 0 <= seq <= _MAX_NUMBER)
    ):
        raise Refused("the cursor is invalid", remedy="start at the first page")
    return at, seq
