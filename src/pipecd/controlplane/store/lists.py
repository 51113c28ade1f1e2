"""Lists of records, complete or paginated.

Pages are ordered newest first and continue from an opaque cursor. Complete lists are read in order of ID,
which never changes, so that a record written in between is neither skipped nor returned twice.
"""

import base64
import itertools
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from google.protobuf.message import Message

from pipecd.controlplane.store import Store, tables
from pipecd.controlplane.store.kinds import KINDS
from pipecd.controlplane.store.statements import Connection
from pipecd.errors import Refused
from pipecd.json_input import decode_json
from pipecd.model.access import Labels
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.chain_pb2 import ChainStatus, DeploymentChain
from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.event_pb2 import Event, EventStatus
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.project_pb2 import Project
from pipecd.schema.model.trace_pb2 import DeploymentTrace

M = TypeVar("M", bound=Message)
R = TypeVar("R", bound=tuple[Any, ...])
Where = Sequence[sa.ColumnElement[bool]]

#: Records per page: the default and the maximum.
DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 50, 200
#: Size of the records of a page, in bytes; a page with larger records is shorter. A client of gRPC accepts
#: messages up to 4 MiB.
MAX_PAGE_BYTES = 2 * 1024 * 1024
#: Statements and conditions that are kept, because building and looking one up costs more than executing it.
MAX_BUILT = 300
#: Epoch microseconds: the largest number that databases store.
_MAX_TOUCHED = 2**63 - 1

UNFINISHED = (
    DeploymentStatus.DEPLOYMENT_PENDING,
    DeploymentStatus.DEPLOYMENT_PLANNED,
    DeploymentStatus.DEPLOYMENT_RUNNING,
    DeploymentStatus.DEPLOYMENT_ROLLING_BACK,
)


@dataclass(frozen=True, kw_only=True)
class Paging:
    """`size` 0 means `DEFAULT_PAGE_SIZE`. Records last written before `since` (epoch seconds) are omitted."""

    size: int = 0
    cursor: str = ""
    since: int = 0


@dataclass(frozen=True)
class Page(Generic[M]):
    """`cursor` is empty on the last page."""

    records: Sequence[M]
    cursor: str


@dataclass(frozen=True, kw_only=True)
class ApplicationFilter:
    """Empty fields match everything. `search`: words in the name or labels; `name`: the exact name."""

    search: str = ""
    name: str = ""
    #: Names of kinds, such as `TERRAFORM`.
    kinds: Collection[str] = ()
    sync_statuses: Collection[int] = ()
    piped_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    enabled: bool | None = None
    #: None includes deleted applications, as PipeCD's RPCs do when they list disabled ones.
    deleted: bool | None = False
    #: The labels that a record must have by the user's roles, as alternatives; None includes every record.
    included: Sequence[Labels] | None = None


@dataclass(frozen=True, kw_only=True)
class DeploymentFilter:
    """`search`: words in the application's name; `name`: the whole name, case-insensitive."""

    name: str = ""
    statuses: Collection[int] = ()
    #: Names of kinds, such as `TERRAFORM`.
    kinds: Collection[str] = ()
    application_ids: Collection[str] = ()
    search: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    #: Commit of the source code that caused the deployment, if reported by an event.
    trace_commit: str = ""
    #: Only the most recently changed one of each application that is not deleted.
    only_last: bool = False
    #: The labels that a record must have by the user's roles, as alternatives; None includes every record.
    included: Sequence[Labels] | None = None


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    """`search`: a part of the name, in any case; `name`: the exact name."""

    name: str = ""
    search: str = ""
    statuses: Collection[int] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    #: The labels that a record must have by the user's roles, as alternatives; None includes every record.
    included: Sequence[Labels] | None = None


async def applications(
    store: Store, project_id: str, filters: ApplicationFilter, paging: Paging
) -> Page[Application]:
    query = _select_applications(project_id, _hashable(filters))
    return await _load_page(store, Application, query, paging, project_id, _covers(store, filters))


@lru_cache(MAX_BUILT)
def _select_applications(project_id: str, filters: ApplicationFilter) -> "_PageQuery":
    return _select(Application, _application_conditions(project_id, filters))


async def count_applications(store: Store, project_id: str, filters: ApplicationFilter) -> int:
    table = KINDS[Application].table
    query = sa.select(sa.func.count()).select_from(table).where(*_application_conditions(project_id, filters))
    ((count,),) = await store.database.rows(query)
    return int(count)


async def count_applications_by_status(
    store: Store, project_id: str, filters: ApplicationFilter
) -> Mapping[int, int]:
    """By sync status, of the applications that match everything but `sync_statuses`."""
    query = _count_by_status(project_id, _hashable(replace(filters, sync_statuses=())))

    def count(connection: Connection) -> Mapping[int, int]:
        limit = store.settings.max_labelled_of_list
        restricted = _by_label(connection, Application, project_id, _covers(store, filters), query, limit)
        return {int(value): int(count) for value, count in connection.execute(restricted).all()}

    return await store.database.read(count)


@lru_cache(MAX_BUILT)
def _count_by_status(project_id: str, filters: ApplicationFilter) -> sa.Select[tuple[int, int]]:
    status = KINDS[Application].table.c.sync_status
    where = _application_conditions(project_id, filters)
    return sa.select(status, sa.func.count()).where(*where).group_by(status)


async def all_applications(
    store: Store, project_id: str, filters: ApplicationFilter
) -> Sequence[Application]:
    complete = _complete(Application, *_application_conditions(project_id, filters))

    def restrict(connection: Connection) -> sa.Select[tuple[str, bytes]]:
        limit = store.settings.max_labelled_of_list
        return _by_label(connection, Application, project_id, _covers(store, filters), complete.query, limit)

    return await _load_complete(store, replace(complete, restrict=restrict))


async def enabled_applications(
    store: Store, project_id: str, piped_id: str, new: Callable[[], Application] | None = None
) -> Sequence[Application]:
    """`new` makes the messages that are filled. Those of a response (`add` of its field) are not copied."""
    return await _load_complete(store, _ENABLED_APPLICATIONS, new, project_id=project_id, piped_id=piped_id)


async def deployments(
    store: Store, project_id: str, filters: DeploymentFilter, paging: Paging
) -> Page[Deployment]:
    query = _select_deployments(project_id, _hashable(filters))
    return await _load_page(store, Deployment, query, paging, project_id, _covers(store, filters))


@lru_cache(MAX_BUILT)
def _select_deployments(project_id: str, filters: DeploymentFilter) -> "_PageQuery":
    column = KINDS[Deployment].table.c
    where = [
        column.project_id == project_id,
        *_in_condition(column.status, filters.statuses),
        *_in_condition(column.kind_name, filters.kinds),
        *_in_condition(column.application_id, filters.application_ids),
        *([column.words == filters.name.lower()] if filters.name else ()),
        *([_has_trace(column, filters.trace_commit)] if filters.trace_commit else ()),
        *(column.words.contains(word, autoescape=True) for word in filters.search.lower().split()),
        *_label_conditions(column.labels, filters.labels),
        *included_condition(column.labels, filters.included),
        *(_last_of_application() if filters.only_last else ()),
    ]
    return _select(Deployment, where)


def _last_of_application() -> Where:
    deployment, application = KINDS[Deployment].table, KINDS[Application].table
    other = deployment.alias("other")
    same_application = sa.and_(
        other.c.project_id == deployment.c.project_id, other.c.application_id == deployment.c.application_id
    )
    is_later = sa.or_(
        other.c.touched > deployment.c.touched,
        sa.and_(other.c.touched == deployment.c.touched, other.c.id > deployment.c.id),
    )
    exists = sa.exists().where(application.c.id == deployment.c.application_id, application.c.deleted == 0)
    return [exists, ~sa.exists().where(same_application, is_later)]


async def unfinished_deployments(
    store: Store, project_id: str, piped_id: str, new: Callable[[], Deployment] | None = None
) -> Sequence[Deployment]:
    """`new` as of `enabled_applications`."""
    return await _load_complete(store, _UNFINISHED_DEPLOYMENTS, new, project_id=project_id, piped_id=piped_id)


async def unhandled_commands(store: Store, project_id: str, piped_id: str) -> Sequence[Command]:
    """Oldest first."""
    commands = await _load_complete(store, _UNHANDLED_COMMANDS, project_id=project_id, piped_id=piped_id)
    return sorted(commands, key=lambda command: (command.created_at, command.id))


async def overdue_commands(store: Store, before: int) -> Sequence[Command]:
    """Unhandled commands of all projects, created before `before` (epoch seconds)."""
    column = KINDS[Command].table.c
    where = [column.status == CommandStatus.COMMAND_NOT_HANDLED_YET, column.created_at < before]
    return await _load_all(store, Command, where)


async def pipeds(store: Store, project_id: str, enabled: bool | None = None) -> Sequence[Piped]:
    """Sorted by name."""
    column = KINDS[Piped].table.c
    where = [column.project_id == project_id, *_enabled_condition(column.disabled, enabled)]
    return sorted(await _load_all(store, Piped, where), key=lambda piped: (piped.name, piped.id))


async def enabled_piped_ids(store: Store, project_id: str) -> Sequence[str]:
    """Without reading the records, which contain the agents' configuration."""
    column = KINDS[Piped].table.c
    query = sa.select(column.id).where(
        column.project_id == project_id, *_enabled_condition(column.disabled, enabled=True)
    )
    return [row.id for row in await store.database.rows(query)]


async def all_pipeds(store: Store) -> Sequence[Piped]:
    """Enabled agents of all projects."""
    return await _load_all(store, Piped, _enabled_condition(KINDS[Piped].table.c.disabled, enabled=True))


async def projects(store: Store) -> Sequence[Project]:
    """The projects of the database, in order of ID."""
    return await _load_all(store, Project, [])


async def api_keys(store: Store, project_id: str) -> Sequence[APIKey]:
    """Newest first."""
    column = KINDS[APIKey].table.c
    keys = await _load_all(store, APIKey, [column.project_id == project_id])
    return sorted(keys, key=lambda key: (-key.created_at, key.id))


async def events(store: Store, project_id: str, filters: EventFilter, paging: Paging) -> Page[Event]:
    column = KINDS[Event].table.c
    where = [
        column.project_id == project_id,
        *([column.name == filters.name] if filters.name else ()),
        *([_contains(column.name, filters.search)] if filters.search else ()),
        *_in_condition(column.status, filters.statuses),
        *_label_conditions(column.labels, filters.labels),
        *included_condition(column.labels, filters.included),
    ]
    query = _select(Event, where)
    return await _load_page(store, Event, query, paging, project_id, _covers(store, filters))


def _contains(column: sa.ColumnElement[str], text: str) -> sa.ColumnElement[bool]:
    """Whether the column contains `text`, in any case."""
    return sa.func.lower(column).contains(text.lower(), autoescape=True)


async def events_between(
    store: Store, project_id: str, *, begin: int, end: int, status: int | None, newest_first: bool
) -> Sequence[Event]:
    """Events created in `begin ≤ time < end` (epoch seconds; 0 means unbounded)."""
    column = KINDS[Event].table.c
    where = [
        column.project_id == project_id,
        *([column.created_at >= begin] if begin else ()),
        *([column.created_at < end] if end else ()),
        *([column.status == status] if status is not None else ()),
    ]
    records = await _load_all(store, Event, where)
    return sorted(records, key=lambda event: (event.created_at, event.id), reverse=newest_first)


async def unhandled_events(
    store: Store, *, until: int, limit: int, after: tuple[int, str] = (0, "")
) -> Sequence[Event]:
    """Of all projects: the oldest events without a final status that were created before `until`.

    `after` are the time and the id of the event after which the list begins.
    """
    table = KINDS[Event].table
    column = table.c
    query = (
        sa.select(column.data)
        .where(
            column.status == EventStatus.EVENT_NOT_HANDLED,
            column.created_at < until,
            sa.tuple_(column.created_at, column.id) > sa.tuple_(*map(sa.literal, after)),
        )
        .order_by(column.created_at, column.id)
        .limit(limit)
    )
    return [Event.FromString(row.data) for row in await store.database.rows(query)]


async def latest_event(store: Store, project_id: str, name: str, key: str) -> Event | None:
    table = KINDS[Event].table
    column = table.c
    query = (
        sa.select(column.data)
        .where(column.project_id == project_id, column.event_key == key, column.name == name)
        .order_by(column.created_at.desc(), column.id.desc())
        .limit(1)
    )
    rows = await store.database.rows(query)
    return Event.FromString(rows[0].data) if rows else None


async def traces(store: Store, project_id: str, commit_hash: str, paging: Paging) -> Page[DeploymentTrace]:
    column = KINDS[DeploymentTrace].table.c
    by_commit = [column.commit_hash == commit_hash] if commit_hash else []
    query = _select(DeploymentTrace, [column.project_id == project_id, *by_commit])
    return await _load_page(store, DeploymentTrace, query, paging)


async def chains(store: Store, project_id: str, paging: Paging) -> Page[DeploymentChain]:
    column = KINDS[DeploymentChain].table.c
    query = _select(DeploymentChain, [column.project_id == project_id])
    return await _load_page(store, DeploymentChain, query, paging)


async def unfinished_chains(store: Store) -> Sequence[DeploymentChain]:
    """Of all projects."""
    column = KINDS[DeploymentChain].table.c
    running = (ChainStatus.DEPLOYMENT_CHAIN_PENDING, ChainStatus.DEPLOYMENT_CHAIN_RUNNING)
    return await _load_all(store, DeploymentChain, [column.status.in_(running)])


async def by_ids(store: Store, kind: type[M], ids: Iterable[str]) -> list[M]:
    """The records with these ids, in any order; ids that do not exist are ignored."""
    column = KINDS[kind].table.c
    wanted, size = list(dict.fromkeys(ids)), store.settings.list_batch_size
    records: list[M] = []
    for at in range(0, len(wanted), size):
        query = sa.select(column.data).where(column.id.in_(wanted[at : at + size]))
        records.extend(kind.FromString(row.data) for row in await store.database.rows(query))
    return records


class _HashableDict(dict[Any, Any]):
    """Of hashable values, and never changed."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


F = TypeVar("F", ApplicationFilter, DeploymentFilter)


def _hashable(filters: F) -> F:
    return replace(
        filters, **{name: _hashable_value(getattr(filters, name)) for name in filters.__dataclass_fields__}
    )


def _hashable_value(value: Any) -> Any:
    if isinstance(value, str) or not isinstance(value, Collection):
        return value
    if isinstance(value, Mapping):
        return _HashableDict(value)
    return tuple(_hashable_value(item) for item in value)


def _application_conditions(project_id: str, filters: ApplicationFilter) -> Where:
    column = KINDS[Application].table.c
    return [
        column.project_id == project_id,
        *([column.deleted == int(filters.deleted)] if filters.deleted is not None else ()),
        *_enabled_condition(column.disabled, filters.enabled),
        *([column.piped_id == filters.piped_id] if filters.piped_id else ()),
        *([column.name == filters.name] if filters.name else ()),
        *_in_condition(column.kind_name, filters.kinds),
        *_in_condition(column.sync_status, filters.sync_statuses),
        *(column.words.contains(word, autoescape=True) for word in filters.search.lower().split()),
        *_label_conditions(column.labels, filters.labels),
        *included_condition(column.labels, filters.included),
    ]


def _enabled_condition(disabled: sa.Column[Any], enabled: bool | None) -> Where:
    return [] if enabled is None else [disabled == int(not enabled)]


def _in_condition(column: sa.Column[Any], values: Collection[Any]) -> Where:
    chosen = list(values)
    if len(chosen) == 1:
        # With an equality the database can read an index in sort order.
        return [column == chosen[0]]
    return [column.in_(chosen)] if chosen else []


def _has_trace(column: Any, commit: str) -> sa.ColumnElement[bool]:
    """Few deployments have several source commits; an index has only these."""
    contains = sa.func.replace(column.trace_commits, f"\n{commit}\n", "") != column.trace_commits
    return sa.or_(column.trace_commit == commit, sa.and_(column.trace_commits != "", contains))


def _label_conditions(column: sa.Column[Any], labels: Mapping[str, str]) -> Where:
    """The record has all of `labels`."""
    lines = [f"\n{key}:{value}\n" for key, value in labels.items()]
    # Unlike LIKE, REPLACE distinguishes upper and lower case in every database.
    return [sa.func.replace(column, line, "") != column for line in lines]


#: Pairs of labels; each alternative has all of its own.
_Alternatives = tuple[tuple[tuple[str, str], ...], ...]


def included_condition(column: sa.Column[Any], included: Sequence[Labels] | None) -> Where:
    """The record has all labels of one of `included`; None means that every record is included."""
    if included is None:
        return []
    return [_one_of(column, tuple(tuple(labels.items()) for labels in included))]


@lru_cache(MAX_BUILT)
def _one_of(column: sa.Column[Any], included: _Alternatives) -> sa.ColumnElement[bool]:
    """Costs as much to build as all other conditions, and roles are the same in all calls."""
    return sa.or_(
        sa.false(), *(sa.and_(sa.true(), *_label_conditions(column, dict(labels))) for labels in included)
    )


#: Indexed labels of which every record of a list has at least one.
_Cover = Sequence[str]


def _covers(store: Store, filters: ApplicationFilter | DeploymentFilter | EventFilter) -> Sequence[_Cover]:
    """The records of the list can be found by the labels of any of these."""
    covers = [[_indexed(key, value)] for key, value in filters.labels.items()]
    if filters.included:
        covers.append([_indexed(*next(iter(labels.items()), ("", ""))) for labels in filters.included])
    return [cover for cover in covers if all(cover)][: store.settings.max_compared_labels]


def _indexed(key: str, value: str) -> str:
    """How the table `labels` has it; empty if it is not there. Only its first line is looked for."""
    first_line = f"{key}:{value}".partition("\n")[0] if key else ""
    return first_line[: tables.MAX_INDEXED_LABEL]


def _by_label(
    connection: Connection,
    kind: type[Message],
    project_id: str,
    covers: Sequence[_Cover],
    query: "sa.Select[R]",
    limit: int,
) -> "sa.Select[R]":
    """The same query, by the index of labels if there are at most `limit` records with one of the labels.

    With more, an index in the order of the list finds the records of a page sooner.
    """
    fewest, chosen = limit + 1, None
    for cover in covers:
        labelled = _Labelled(kind, project_id, tuple(cover))
        count = connection.execute(_count_labelled(labelled, fewest)).one_or_none().n
        if count < fewest:
            fewest, chosen = count, labelled
    return query if chosen is None else _restricted(query, chosen, sqlite=connection.sqlite)


@dataclass(frozen=True)
class _Labelled:
    """The records of a kind that have one of the labels."""

    kind: type[Message]
    project_id: str
    cover: tuple[str, ...]

    def ids(self) -> sa.Select[tuple[str]]:
        column = tables.labels.c
        return sa.select(column.id).where(
            column.project_id == self.project_id,
            column.kind == KINDS[self.kind].name,
            sa.or_(*(column.label == label for label in self.cover)),
        )


@lru_cache(MAX_BUILT)
def _count_labelled(labelled: _Labelled, most: int) -> sa.Select[Any]:
    return sa.select(sa.func.count().label("n")).select_from(labelled.ids().limit(most).subquery())


@lru_cache(MAX_BUILT)
def _restricted(query: "sa.Select[R]", labelled: _Labelled, *, sqlite: bool) -> "sa.Select[R]":
    table, chosen = KINDS[labelled.kind].table, labelled.ids()
    if not sqlite:
        # PostgreSQL would read the whole table for a join: it takes the other conditions for true of nearly
        # every record, and does not know that those on labels cost more than all else.
        return query.where(table.c.id == sa.any_(sa.func.array(chosen.scalar_subquery())))
    # SQLite does not know the number of records, and would begin with another index.
    hint = f"INDEXED BY sqlite_autoindex_{table.name}_1"
    return query.where(table.c.id.in_(chosen)).with_hint(table, hint, "sqlite")


_PageQuery = sa.Select[tuple[str, bytes, int]]


def _select(kind: type[Message], where: Where) -> _PageQuery:
    """What `_load_page` needs of the records."""
    column = KINDS[kind].table.c
    query: _PageQuery = sa.select(column.id, column.data, column.touched).where(*where)
    return query


async def _load_page(
    store: Store,
    kind: type[M],
    query: _PageQuery,
    paging: Paging,
    project_id: str = "",
    covers: Sequence[_Cover] = (),
) -> Page[M]:
    if paging.size < 0 or paging.size > MAX_PAGE_SIZE:
        raise Refused(f"the page size must be between 1 and {MAX_PAGE_SIZE}, not {paging.size}")
    size = paging.size or DEFAULT_PAGE_SIZE
    column = KINDS[kind].table.c
    if paging.since > 0:
        query = query.where(column.touched >= paging.since * 1_000_000)
    if paging.cursor:
        touched, last_id = _decode_cursor(paging.cursor)
        older = column.touched < touched
        query = query.where(sa.or_(older, sa.and_(column.touched == touched, column.id < last_id)))

    def load(connection: Connection) -> Sequence[Any]:
        limit = store.settings.max_labelled_of_page
        labelled: sa.Select[Any] = _by_label(connection, kind, project_id, covers, query, limit)
        # Not in the order of an index, which would be read from its end.
        by_index = labelled is query
        return connection.execute(
            _newest(labelled, column.touched, column.id, size + 1, by_index=by_index)
        ).all()

    rows = await store.database.read(load)
    page_rows = rows[: _count_fitting([len(row.data) for row in rows[:size]])]
    more = len(rows) > len(page_rows)
    cursor = _encode_cursor(page_rows[-1].touched, page_rows[-1].id) if more else ""
    return Page([kind.FromString(row.data) for row in page_rows], cursor)


@lru_cache(MAX_BUILT)
def _newest(
    query: _PageQuery, touched: sa.Column[Any], id: sa.Column[Any], count: int, *, by_index: bool
) -> _PageQuery:
    return query.order_by((touched if by_index else _without_index(touched)).desc(), id.desc()).limit(count)


def _without_index(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    return sa.UnaryExpression(column, operator=sa.sql.operators.custom_op("+"))


def _count_fitting(sizes: Sequence[int]) -> int:
    """How many of the leading records have at most `MAX_PAGE_BYTES` together; at least one."""
    totals = itertools.accumulate(sizes)
    return max(min(len(sizes), 1), sum(1 for total in totals if total <= MAX_PAGE_BYTES))


async def _load_all(store: Store, kind: type[M], where: Where) -> Sequence[M]:
    return await _load_complete(store, _complete(kind, *where))


@dataclass(frozen=True)
class _Complete(Generic[M]):
    """A complete list, read in batches. `query` has the parameters `after` and `size`, and its own."""

    kind: type[M]
    query: sa.Select[tuple[str, bytes]]
    #: Replaces the query before the first batch.
    restrict: Callable[[Connection], sa.Select[tuple[str, bytes]]] | None = None


def _complete(kind: type[M], *where: sa.ColumnElement[bool]) -> _Complete[M]:
    column = KINDS[kind].table.c
    query = sa.select(column.id, column.data).where(*where, column.id > sa.bindparam("after", ""))
    return _Complete(kind, query.order_by(column.id).limit(sa.bindparam("size", 0)))


async def _load_complete(
    store: Store, complete: _Complete[M], new: Callable[[], M] | None = None, **parameters: object
) -> Sequence[M]:
    size = store.settings.list_batch_size

    def load(connection: Connection) -> Sequence[M]:
        records: list[M] = []
        query = complete.restrict(connection) if complete.restrict else complete.query
        after = ""
        while True:
            rows = connection.execute(query, {**parameters, "after": after, "size": size}).all()
            for row in rows:
                record = new() if new else complete.kind()
                record.MergeFromString(row.data)
                records.append(record)
            if len(rows) < size:
                return records
            after = rows[-1].id

    return await store.database.read(load)


def _of_piped(kind: type[M], *where: sa.ColumnElement[bool]) -> _Complete[M]:
    """With the parameters `piped_id` and `project_id`. Built once: agents poll these lists."""
    column = KINDS[kind].table.c
    owned = (
        column.piped_id == sa.bindparam("piped_id", ""),
        column.project_id == sa.bindparam("project_id", ""),
    )
    return _complete(kind, *owned, *where)


def _constant(column: sa.ColumnElement[int], *values: int) -> sa.ColumnElement[bool]:
    """That the column has one of the values, which are part of the statement's text.

    If they were parameters, PostgreSQL would plan the statement for each call, as it expects less of
    a plan for unknown values. Planning takes four times as long as executing.
    """
    return column.in_(sa.bindparam(None, list(values), expanding=True, literal_execute=True))


_ENABLED_APPLICATIONS = _of_piped(
    Application,
    _constant(KINDS[Application].table.c.deleted, 0),
    _constant(KINDS[Application].table.c.disabled, 0),
)
_UNFINISHED_DEPLOYMENTS = _of_piped(Deployment, _constant(KINDS[Deployment].table.c.status, *UNFINISHED))
_UNHANDLED_COMMANDS = _of_piped(
    Command, _constant(KINDS[Command].table.c.status, CommandStatus.COMMAND_NOT_HANDLED_YET)
)


def _encode_cursor(touched: int, last_id: str) -> str:
    text = json.dumps({"UpdatedAt": touched, "Id": last_id})
    return base64.urlsafe_b64encode(text.encode()).decode()


def _decode_cursor(cursor: str) -> tuple[int, str]:
    """Raises Refused if the cursor is none of ours: what it contains is part of a query."""
    try:
        position = decode_json(base64.urlsafe_b64decode(cursor.encode()))
        touched, last_id = position["UpdatedAt"], position["Id"]
    except (ValueError, KeyError, TypeError):
        touched = last_id = None
    if type(touched) is not int or not 0 <= touched <= _MAX_TOUCHED:
        raise Refused("the cursor is invalid", remedy="start at the first page")
    if not isinstance(last_id, str) or not last_id.isprintable():
        raise Refused("the cursor is invalid", remedy="start at the first page")
    return touched, last_id
