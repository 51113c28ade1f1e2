"""Record store of the control plane: get, create, update by compare-and-set, and list records.

    store = await Store.open("sqlite+aiosqlite:///pipecd.db")
    record = await store.get(Application, id)            # Record(message, version); NotFound
    await store.create(application, by=actor)            # AlreadyExists
    record = await store.update(Application, id, change, by=actor)  # `change(message)` may raise to abort
    page = await lists.applications(store, project_id, …)

`update` reads the record, applies `change`, and writes only if the record was not written in between;
otherwise it retries. If `change` modifies nothing, nothing is written. Each write names its actor, and adds
a row to the change feed (`store.feed`) and one to the audit log (`store.audit`) in the same transaction. A
second active deployment of an application raises Conflict.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Self, TypeVar

import sqlalchemy as sa
from google.protobuf.message import Message
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from pipecd.clock import SYSTEM_CLOCK, Clock
from pipecd.controlplane.settings import StoreSettings
from pipecd.controlplane.store import audit, tables
from pipecd.controlplane.store.engine import Database
from pipecd.controlplane.store.feed import Change, Feed
from pipecd.controlplane.store.kinds import KINDS, Kind, MetadataKind
from pipecd.controlplane.store.leases import Leases
from pipecd.controlplane.store.migrate import migrate_database
from pipecd.errors import AlreadyExists, Conflict, NotFound, Refused, Temporary
from pipecd.model.actor import Actor

M = TypeVar("M", bound=Message)
DEFAULT_SETTINGS = StoreSettings()
#: In bytes. Larger records could not be returned by one call; an agent that adds metadata reaches it.
MAX_RECORD_SIZE = 4 * 1024 * 1024


@dataclass(frozen=True)
class Record(Generic[M]):
    """A stored message. `version` increases by one with every write."""

    message: M
    version: int


class Store:
    def __init__(self, database: Database, clock: Clock, settings: StoreSettings) -> None:
        self.database = database
        self.feed = Feed(database, clock, settings.feed)
        self.leases = Leases(database, clock)
        self.settings = settings
        self._clock = clock
        #: Writes of this process per kind; cached records of a kind are valid while its count is unchanged.
        self.write_counts: Counter[type[Message]] = Counter()

    @classmethod
    async def open(
        cls, url: str, clock: Clock = SYSTEM_CLOCK, settings: StoreSettings = DEFAULT_SETTINGS
    ) -> Self:
        """Migrate the schema, then connect. Raises ConfigError or Temporary."""
        await migrate_database(url)
        return cls(Database(url), clock, settings)

    async def close(self) -> None:
        await self.database.close()

    async def check_health(self) -> None:
        """Raises Temporary if the database does not respond."""
        async with self.database.read() as connection:
            await connection.execute(sa.select(sa.literal(1)))

    async def get(self, kind: type[M], id: str) -> Record[M]:
        """Raises NotFound."""
        select = _statements(KINDS[kind].table).select
        async with self.database.read() as connection:
            row = (await connection.execute(select, {"record_id": id})).one_or_none()
        if row is None:
            raise NotFound(f"{KINDS[kind].name} {id} does not exist")
        return Record(kind.FromString(row.data), row.version)

    async def create(self, *messages: Message, by: Actor) -> None:
        """Create all records or none.

        Raises AlreadyExists if an ID exists, Conflict for an application's second active deployment.
        """
        async with self._writing(*{type(message) for message in messages}) as connection:
            for message in messages:
                await self._insert(connection, message, by)

    async def update(
        self,
        type_: type[M],
        id: str,
        change: Callable[[M], None],
        *,
        by: Actor,
        detail: str = "",
        creating: Sequence[Message] = (),
    ) -> Record[M]:
        """Apply `change` and return the new record. Raises NotFound, Conflict, and any error of `change`.

        `detail` is stored with the change in the change feed. The records `creating` are created in the same
        transaction; errors as for `create`.
        """
        kind = KINDS[type_]
        for attempt in range(self.settings.update_tries):
            record = await self._try_update(kind, type_, id, change, by, detail, creating)
            if record is not None:
                return record
            await self._clock.sleep(random.uniform(0, 0.002 * 2 ** min(attempt, 6)))
        raise Temporary(f"{kind.name} {id} is being changed by too many writers at once", after=1.0)

    async def announce(
        self, kind: str, *, project_id: str, id: str, piped_id: str = "", detail: str = ""
    ) -> None:
        """Add a change other than a record's write, such as new stage log lines or a push to a repository."""
        change = Change(kind=kind, project_id=project_id, piped_id=piped_id, id=id, detail=detail)
        async with self.feed.notifying_transaction() as connection:
            await self.feed.add(connection, change)

    async def put_metadata(
        self, kind: MetadataKind, id: str, project_id: str, data: bytes, *, by: Actor
    ) -> None:
        """Replace the metadata `kind` of the record `id`. Audited metadata is written only if it differs."""
        if kind.message and (stored := await self.get_metadata(kind, id)) and stored[0] == data:
            return
        key = (tables.facts.c.kind == kind.name) & (tables.facts.c.id == id)
        values = {"project_id": project_id, "data": data, "touched": self._microseconds()}
        async with (
            self.feed.notifying_transaction() if kind.announced else self.database.write() as connection
        ):
            before = None
            if kind.message:
                before = (await connection.execute(sa.select(tables.facts.c.data).where(key))).scalar()
            result = await connection.execute(sa.update(tables.facts).where(key).values(values))
            if not result.rowcount:
                await connection.execute(sa.insert(tables.facts).values(kind=kind.name, id=id, **values))
            if kind.announced:
                await self.feed.add(connection, Change(kind=kind.name, project_id=project_id, id=id))
            if kind.message:
                operation = "update" if result.rowcount else "create"
                record = audit.Subject(kind=kind.name, id=id, project_id=project_id)
                old, new = kind.message.FromString(before or b""), kind.message.FromString(data)
                await audit.add(
                    connection, by, self._microseconds(), operation, record, *audit.changed_fields(old, new)
                )

    async def record_action(
        self, operation: str, record: audit.Subject, after: Mapping[str, object], *, by: Actor
    ) -> None:
        """Add a row to the audit log for a change outside the database, such as a stored object.

        Call it before the change where the change is known, so that no change can be without a row. `after`
        describes the change.
        """
        async with self.database.write() as connection:
            await audit.add(connection, by, self._microseconds(), operation, record, {}, after)

    async def get_metadata(self, kind: MetadataKind, id: str) -> tuple[bytes, int] | None:
        """The data and the time it was written (epoch microseconds), or None."""
        where = (tables.facts.c.kind == kind.name) & (tables.facts.c.id == id)
        async with self.database.read() as connection:
            row = (
                await connection.execute(sa.select(tables.facts.c.data, tables.facts.c.touched).where(where))
            ).one_or_none()
        return (row.data, row.touched) if row else None

    async def list_metadata(self, kind: MetadataKind, project_id: str) -> dict[str, tuple[bytes, int]]:
        """Metadata of a kind in a project: record ID → data and time it was written (epoch microseconds)."""
        table = tables.facts
        where = (table.c.kind == kind.name) & (table.c.project_id == project_id)
        async with self.database.read() as connection:
            rows = await connection.execute(sa.select(table.c.id, table.c.data, table.c.touched).where(where))
            return {row.id: (row.data, row.touched) for row in rows}

    async def prune_metadata(self, kind: MetadataKind, before: float) -> None:
        """Delete the metadata of a kind that was last written before `before` (epoch seconds)."""
        table = tables.facts
        old = (table.c.kind == kind.name) & (table.c.touched < int(before * 1_000_000))
        async with self.database.write() as connection:
            await connection.execute(sa.delete(table).where(old))

    def _microseconds(self) -> int:
        """The time in epoch microseconds."""
        return int(self._clock.now() * 1_000_000)

    @asynccontextmanager
    async def _writing(self, *kinds: type[Message]) -> AsyncIterator[AsyncConnection]:
        """A transaction that may write records of `kinds`; counts as a write even if it is cancelled."""
        try:
            async with self.feed.notifying_transaction() as connection:
                yield connection
        finally:
            self.write_counts.update(kinds)

    async def _insert(self, connection: AsyncConnection, message: Message, by: Actor) -> None:
        kind, at = KINDS[type(message)], self._microseconds()
        row = {**_row(kind, message, at), "id": _id(message), "version": 1}
        try:
            await connection.execute(_statements(kind.table).insert, row)
        except IntegrityError as error:
            raise _constraint_error(kind, message, error) from error
        await self.feed.add(connection, _change(kind, message))
        await _audit(connection, by, at, "create", kind, type(message)(), message)

    async def _try_update(
        self,
        kind: Kind,
        type_: type[M],
        id: str,
        change: Callable[[M], None],
        by: Actor,
        detail: str,
        creating: Sequence[Message],
    ) -> Record[M] | None:
        """One attempt; None if the record was written in between."""
        statements = _statements(kind.table)
        try:
            async with self._writing(type_, *map(type, creating)) as connection:
                row = (await connection.execute(statements.select, {"record_id": id})).one_or_none()
                if row is None:
                    raise NotFound(f"{kind.name} {id} does not exist")
                message = type_.FromString(row.data)
                before = type_()
                before.CopyFrom(message)
                change(message)
                for created in creating:
                    await self._insert(connection, created, by)
                if message == before:
                    return Record(message, row.version)
                at = self._microseconds()
                values = {**_row(kind, message, at), "version": row.version + 1}
                unchanged = {"record_id": id, "unchanged_version": row.version}
                result = await connection.execute(statements.update, values | unchanged)
                if result.rowcount != 1:
                    return None
                await self.feed.add(connection, _change(kind, message, detail))
                await _audit(connection, by, at, "update", kind, before, message)
                if (old_piped := kind.piped(before)) != kind.piped(message):
                    moved = Change(
                        kind=kind.name, project_id=kind.project(message), piped_id=old_piped, id=id
                    )
                    await self.feed.add(connection, moved)
        except IntegrityError as error:
            raise _constraint_error(kind, message, error) from error
        return Record(message, row.version + 1)


@dataclass(frozen=True, kw_only=True)
class _Statements:
    """Statements for the records of one table. They are built once: building costs as much as executing."""

    select: sa.Select[tuple[bytes, int]]
    insert: sa.Insert
    update: sa.Update


@cache
def _statements(table: sa.Table) -> _Statements:
    this_record = table.c.id == sa.bindparam("record_id")
    unchanged = table.c.version == sa.bindparam("unchanged_version")
    return _Statements(
        select=sa.select(table.c.data, table.c.version).where(this_record),
        insert=sa.insert(table).inline(),
        update=sa.update(table).where(this_record, unchanged),
    )


def _id(message: Any) -> str:
    return str(message.id)


def _row(kind: Kind, message: Message, at: int) -> dict[str, Any]:
    data = message.SerializeToString(deterministic=True)
    if len(data) > MAX_RECORD_SIZE:
        raise Refused(f"{kind.name} {_id(message)} would be larger than {MAX_RECORD_SIZE >> 20} MiB")
    return {
        "project_id": kind.project(message),
        "data": data,
        "touched": at,
        **kind.columns(message),
    }


def _change(kind: Kind, message: Message, detail: str = "") -> Change:
    return Change(
        kind=kind.name,
        project_id=kind.project(message),
        piped_id=kind.piped(message),
        id=_id(message),
        detail=detail,
    )


async def _audit(
    connection: AsyncConnection,
    by: Actor,
    at: int,
    operation: str,
    kind: Kind,
    before: Message,
    after: Message,
) -> None:
    record = audit.Subject(kind=kind.name, id=_id(after), project_id=kind.project(after))
    await audit.add(connection, by, at, operation, record, *audit.changed_fields(before, after))


def _constraint_error(kind: Kind, message: Message, error: IntegrityError) -> Exception:
    if "active_application_id" in str(error.orig):
        return Conflict(
            f"application {getattr(message, 'application_id', '')} already has another active deployment"
        )
    return AlreadyExists(f"{kind.name} {_id(message)} already exists")
