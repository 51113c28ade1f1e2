"""Lists of records: whole ones, read to their last page, and pages for people.

Pages come newest first and go on from a cursor, which only this module reads. Whole lists go by id, which
never changes, so a record that is written meanwhile is neither skipped nor told twice.
"""

import base64
import binascii
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from google.protobuf.message import Message

from pipecd.controlplane.store import Store
from pipecd.controlplane.store.kinds import KINDS
from pipecd.errors import Refused
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.chain_pb2 import ChainStatus, DeploymentChain
from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.event_pb2 import Event
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.trace_pb2 import DeploymentTrace

M = TypeVar("M", bound=Message)
Where = Sequence[sa.ColumnElement[bool]]

#: Records in a page where nobody says, and at most.
PAGE_SIZE, LARGEST_PAGE = 50, 200
#: Rows a query when a list is read as a whole. Tests set 1.
CHUNK = 500

UNFINISHED = (
    DeploymentStatus.DEPLOYMENT_PENDING,
    DeploymentStatus.DEPLOYMENT_PLANNED,
    DeploymentStatus.DEPLOYMENT_RUNNING,
    DeploymentStatus.DEPLOYMENT_ROLLING_BACK,
)


@dataclass(frozen=True, kw_only=True)
class Paging:
    """`size` 0 means the usual one. `since` is epoch seconds: nothing older is listed."""

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
    """An empty member does not narrow. `search`: words of name or labels; `name`: exactly that one."""

    search: str = ""
    name: str = ""
    kinds: Collection[int] = ()
    sync_statuses: Collection[int] = ()
    piped_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    enabled: bool | None = None
    #: Deleted ones are listed where PipeCD's calls do so: among the disabled.
    deleted: bool | None = False


@dataclass(frozen=True, kw_only=True)
class DeploymentFilter:
    """`search`: words of the application's name; `name`: all of it, in whatever letter case."""

    name: str = ""
    statuses: Collection[int] = ()
    kinds: Collection[int] = ()
    application_ids: Collection[str] = ()
    search: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    #: The source commit that caused it, where an event told.
    trace_commit: str = ""


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    name: str = ""
    statuses: Collection[int] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


async def applications(
    store: Store, project_id: str, wanted: ApplicationFilter, paging: Paging
) -> Page[Application]:
    return await _page(store, Application, _applications(project_id, wanted), paging)


async def count_applications(store: Store, project_id: str, wanted: ApplicationFilter) -> int:
    table = KINDS[Application].table
    query = sa.select(sa.func.count()).select_from(table).where(*_applications(project_id, wanted))
    async with store.database.read() as connection:
        return int((await connection.execute(query)).scalar_one())


async def all_applications(store: Store, project_id: str, wanted: ApplicationFilter) -> Sequence[Application]:
    return await _all(store, Application, _applications(project_id, wanted))


async def enabled_applications(store: Store, project_id: str, piped_id: str) -> Sequence[Application]:
    wanted = ApplicationFilter(piped_id=piped_id, enabled=True)
    return await all_applications(store, project_id, wanted)


async def deployments(
    store: Store, project_id: str, wanted: DeploymentFilter, paging: Paging
) -> Page[Deployment]:
    column = KINDS[Deployment].table.c
    where = [
        column.project_id == project_id,
        *_any_of(column.status, wanted.statuses),
        *_any_of(column.kind, wanted.kinds),
        *_any_of(column.application_id, wanted.application_ids),
        *([column.words == wanted.name.lower()] if wanted.name else ()),
        *([column.trace_commit == wanted.trace_commit] if wanted.trace_commit else ()),
        *(column.words.contains(word, autoescape=True) for word in wanted.search.lower().split()),
        *_labels(column.labels, wanted.labels),
    ]
    return await _page(store, Deployment, where, paging)


async def unfinished_deployments(store: Store, project_id: str, piped_id: str) -> Sequence[Deployment]:
    column = KINDS[Deployment].table.c
    where = [column.piped_id == piped_id, column.project_id == project_id, column.status.in_(UNFINISHED)]
    return await _all(store, Deployment, where)


async def unhandled_commands(store: Store, project_id: str, piped_id: str) -> Sequence[Command]:
    """Oldest first."""
    column = KINDS[Command].table.c
    where = [
        column.piped_id == piped_id,
        column.project_id == project_id,
        column.status == CommandStatus.COMMAND_NOT_HANDLED_YET,
    ]
    return sorted(await _all(store, Command, where), key=lambda one: (one.created_at, one.id))


async def overdue_commands(store: Store, before: int) -> Sequence[Command]:
    """Commands of all projects that nobody handled and that were made before `before` (epoch seconds)."""
    column = KINDS[Command].table.c
    where = [column.status == CommandStatus.COMMAND_NOT_HANDLED_YET, column.created_at < before]
    return await _all(store, Command, where)


async def pipeds(store: Store, project_id: str, enabled: bool | None = None) -> Sequence[Piped]:
    """By name."""
    column = KINDS[Piped].table.c
    where = [column.project_id == project_id, *_flag(column.disabled, enabled)]
    return sorted(await _all(store, Piped, where), key=lambda one: (one.name, one.id))


async def all_pipeds(store: Store) -> Sequence[Piped]:
    """The enabled ones of all projects."""
    return await _all(store, Piped, _flag(KINDS[Piped].table.c.disabled, enabled=True))


async def api_keys(store: Store, project_id: str) -> Sequence[APIKey]:
    """Newest first."""
    column = KINDS[APIKey].table.c
    found = await _all(store, APIKey, [column.project_id == project_id])
    return sorted(found, key=lambda one: (-one.created_at, one.id))


async def events(store: Store, project_id: str, wanted: EventFilter, paging: Paging) -> Page[Event]:
    column = KINDS[Event].table.c
    where = [
        column.project_id == project_id,
        *([column.name == wanted.name] if wanted.name else ()),
        *_any_of(column.status, wanted.statuses),
        *_labels(column.labels, wanted.labels),
    ]
    return await _page(store, Event, where, paging)


async def events_between(
    store: Store, project_id: str, *, begin: int, end: int, status: int | None, newest_first: bool
) -> Sequence[Event]:
    """Events made in `begin ≤ time < end` (epoch seconds; 0 leaves that side open)."""
    column = KINDS[Event].table.c
    where = [
        column.project_id == project_id,
        *([column.created_at >= begin] if begin else ()),
        *([column.created_at < end] if end else ()),
        *([column.status == status] if status is not None else ()),
    ]
    found = await _all(store, Event, where)
    return sorted(found, key=lambda one: (one.created_at, one.id), reverse=newest_first)


async def latest_event(store: Store, project_id: str, name: str, key: str) -> Event | None:
    table = KINDS[Event].table
    column = table.c
    query = (
        sa.select(column.data)
        .where(column.project_id == project_id, column.event_key == key, column.name == name)
        .order_by(column.created_at.desc(), column.id.desc())
        .limit(1)
    )
    async with store.database.read() as connection:
        data = (await connection.execute(query)).scalar()
    return Event.FromString(data) if data is not None else None


async def traces(store: Store, project_id: str, commit_hash: str, paging: Paging) -> Page[DeploymentTrace]:
    column = KINDS[DeploymentTrace].table.c
    by_commit = [column.commit_hash == commit_hash] if commit_hash else []
    return await _page(store, DeploymentTrace, [column.project_id == project_id, *by_commit], paging)


async def chains(store: Store, project_id: str, paging: Paging) -> Page[DeploymentChain]:
    column = KINDS[DeploymentChain].table.c
    return await _page(store, DeploymentChain, [column.project_id == project_id], paging)


async def unfinished_chains(store: Store) -> Sequence[DeploymentChain]:
    """Of all projects."""
    column = KINDS[DeploymentChain].table.c
    running = (ChainStatus.DEPLOYMENT_CHAIN_PENDING, ChainStatus.DEPLOYMENT_CHAIN_RUNNING)
    return await _all(store, DeploymentChain, [column.status.in_(running)])


def _applications(project_id: str, wanted: ApplicationFilter) -> Where:
    column = KINDS[Application].table.c
    return [
        column.project_id == project_id,
        *([column.deleted == int(wanted.deleted)] if wanted.deleted is not None else ()),
        *_flag(column.disabled, wanted.enabled),
        *([column.piped_id == wanted.piped_id] if wanted.piped_id else ()),
        *([column.name == wanted.name] if wanted.name else ()),
        *_any_of(column.kind, wanted.kinds),
        *_any_of(column.sync_status, wanted.sync_statuses),
        *(column.words.contains(word, autoescape=True) for word in wanted.search.lower().split()),
        *_labels(column.labels, wanted.labels),
    ]


def _flag(disabled: sa.Column[Any], enabled: bool | None) -> Where:
    return [] if enabled is None else [disabled == int(not enabled)]


def _any_of(column: sa.Column[Any], values: Collection[Any]) -> Where:
    chosen = list(values)
    if len(chosen) == 1:
        # An equality lets the database read an index in its order.
        return [column == chosen[0]]
    return [column.in_(chosen)] if chosen else []


def _labels(column: sa.Column[Any], labels: Mapping[str, str]) -> Where:
    return [column.contains(f"\n{key}:{value}\n", autoescape=True) for key, value in labels.items()]


async def _page(store: Store, kind: type[M], where: Where, paging: Paging) -> Page[M]:
    if paging.size < 0 or paging.size > LARGEST_PAGE:
        raise Refused(f"a page has 1 to {LARGEST_PAGE} records, not {paging.size}")
    size = paging.size or PAGE_SIZE
    column = KINDS[kind].table.c
    query = sa.select(column.id, column.data, column.touched).where(*where)
    if paging.since > 0:
        query = query.where(column.touched >= paging.since * 1_000_000)
    if paging.cursor:
        touched, last_id = _position(paging.cursor)
        older = column.touched < touched
        query = query.where(sa.or_(older, sa.and_(column.touched == touched, column.id < last_id)))
    query = query.order_by(column.touched.desc(), column.id.desc()).limit(size + 1)
    async with store.database.read() as connection:
        rows = (await connection.execute(query)).all()
    shown = rows[:size]
    more = len(rows) > size
    cursor = _cursor(shown[-1].touched, shown[-1].id) if more else ""
    return Page([kind.FromString(row.data) for row in shown], cursor)


async def _all(store: Store, kind: type[M], where: Where) -> Sequence[M]:
    column = KINDS[kind].table.c
    found: list[M] = []
    after = ""
    async with store.database.read() as connection:
        while True:
            query = sa.select(column.id, column.data).where(*where, column.id > after)
            rows = (await connection.execute(query.order_by(column.id).limit(CHUNK))).all()
            found.extend(kind.FromString(row.data) for row in rows)
            if len(rows) < CHUNK:
                return found
            after = rows[-1].id


def _cursor(touched: int, last_id: str) -> str:
    text = json.dumps({"UpdatedAt": touched, "Id": last_id})
    return base64.urlsafe_b64encode(text.encode()).decode()


def _position(cursor: str) -> tuple[int, str]:
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        return int(position["UpdatedAt"]), str(position["Id"])
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise Refused(
            "the cursor is not one that this list gave out", remedy="start at the first page"
        ) from None
