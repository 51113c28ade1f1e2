"""Record store of the control plane: get, create, update by compare-and-set, and list records.

    store = await Store.open("sqlite:///pipecd.db")
    record = await store.get(Application, id)            # Record(message, version); NotFound
    await store.create(application, by=actor)            # AlreadyExists
    record = await store.update(Application, id, change, by=actor)  # `change(message)` may raise to abort
    page = await lists.applications(store, project_id, …)

`update` reads the record, applies `change`, and writes only if the record was not written in between;
otherwise it retries. If `change` modifies nothing, nothing is written. Each write names its actor, and adds
a row to the change feed (`store.feed`) and one to the audit log (`store.audit`) in the same transaction, and
one to the deliveries (`store.deliveries`) if it ends a deployment. A second active deployment of an
application raises Conflict.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Self, TypeVar

import sqlalchemy as sa
from google.protobuf.message import Message

from pipecd.clock import SYSTEM_CLOCK, Clock
from pipecd.controlplane.settings import StoreSettings
from pipecd.controlplane.store import audit, audit_chain, deliveries, tables
from pipecd.controlplane.store.engine import Database, describe_server
from pipecd.controlplane.store.feed import Change, Feed
from pipecd.controlplane.store.heartbeats import Heartbeats
from pipecd.controlplane.store.kinds import KINDS, Kind, MetadataKind
from pipecd.controlplane.store.leases import Leases
from pipecd.controlplane.store.migrate import migrate_database
from pipecd.controlplane.store.statements import Connection, ConstraintViolated, Write
from pipecd.errors import AlreadyExists, Conflict, NotFound, Refused, Temporary
from pipecd.model.actor import Actor

M = TypeVar("M", bound=Message)
T = TypeVar("T")
DEFAULT_SETTINGS = StoreSettings()
#: In bytes. Larger records could not be returned by one call; an agent that adds metadata reaches it.
MAX_RECORD_SIZE = 4 * 1024 * 1024

_METADATA_COLUMN = tables.metadata_rows.c
_OF_RECORD = (_METADATA_COLUMN.kind == sa.bindparam("of_kind"), _METADATA_COLUMN.id == sa.bindparam("of_id"))
_METADATA = sa.select(_METADATA_COLUMN.data, _METADATA_COLUMN.touched).where(*_OF_RECORD)
_UPDATE_METADATA = sa.update(tables.metadata_rows).where(*_OF_RECORD)
_DELETE_METADATA = sa.delete(tables.metadata_rows).where(*_OF_RECORD)
_INSERT_METADATA = sa.insert(tables.metadata_rows)
_RECENT_METADATA = sa.select(_METADATA_COLUMN.id, _METADATA_COLUMN.project_id, _METADATA_COLUMN.data).where(
    _METADATA_COLUMN.kind == sa.bindparam("kind"), _METADATA_COLUMN.touched >= sa.bindparam("since")
)
_METADATA_OF_PROJECT = sa.select(_METADATA_COLUMN.id, _METADATA_COLUMN.data, _METADATA_COLUMN.touched).where(
    _METADATA_COLUMN.kind == sa.bindparam("kind"), _METADATA_COLUMN.project_id == sa.bindparam("project_id")
)


@dataclass(frozen=True)
class Record(Generic[M]):
    """A stored message. `version` increases by one with every write."""

    message: M
    version: int


class Store:
    def __init__(self, database: Database, clock: Clock, settings: StoreSettings) -> None:
        self.database = database
        self.feed = Feed(database, clock, settings.feed)
        self.leases = Leases(database, clock, settings.collecting_window)
        self.heartbeats = Heartbeats(database, clock, settings.collecting_window)
        self.settings = settings
        self._clock = clock
        #: Writes of this process per kind; cached records of a kind are valid while its count is unchanged.
        self.write_counts: Counter[type[Message]] = Counter()

    @classmethod
    async def open(
        cls, url: str, clock: Clock = SYSTEM_CLOCK, settings: StoreSettings = DEFAULT_SETTINGS
    ) -> Self:
        """Migrate the schema, then connect. Raises ConfigError or Temporary, which name the database."""
        try:
            await migrate_database(url)
        except Temporary as error:
            reason = str(error.__cause__) or "it does not answer"
            raise Temporary(
                f"spec.datastore.config: {describe_server(sa.make_url(url))} cannot be used: {reason}"
            ) from error
        return cls(Database(url), clock, settings)

    async def close(self) -> None:
        await self.database.close()

    async def check_health(self) -> None:
        """Raises Temporary if the database does not respond."""
        await self.database.rows(sa.select(sa.literal(1)))

    async def get(self, kind: type[M], id: str) -> Record[M]:
        """Raises NotFound."""
        rows = await self.database.rows(_statements(KINDS[kind].table).select, {"record_id": id})
        if not rows:
            raise _missing(KINDS[kind].name, id)
        return Record(kind.FromString(rows[0].data), rows[0].version)

    async def create(
        self, *messages: Message, by: Actor, touched: Callable[[Message], int] | None = None
    ) -> None:
        """Create all records or none.

        `touched` returns when an imported record was last written (epoch seconds), which orders lists; such
        records have no deliveries until `deliveries.fill` adds them in the order in which they ended.
        Raises AlreadyExists if an ID exists, Conflict for an application's second active deployment.
        """

        if not messages:
            return

        def create(connection: Connection) -> None:
            *others, last = messages
            for message in others:
                self._insert(connection, message, by, touched)
            first, *rest = self._insertion(connection, last, by, touched)
            with _constraint_errors(KINDS[type(last)], last):
                connection.finish(first, rest)

        await self._write(create, *{type(message) for message in messages})

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

        `change` changes only the record: it may run in another thread, and more than once.
        `detail` is stored with the change in the change feed. The records `creating` are created in the same
        transaction; errors as for `create`.
        """

        def update(connection: Connection) -> Record[M]:
            return self._try_update(connection, type_, id, change, by, detail, creating)

        for attempt in range(self.settings.update_tries):
            with suppress(_Changed):
                return await self._write(update, type_, *map(type, creating))
            await self._clock.sleep(random.uniform(0, 0.002 * 2 ** min(attempt, 6)))
        raise Temporary(f"{KINDS[type_].name} {id} is being changed by too many writers at once", after=1.0)

    async def announce(
        self, kind: str, *, project_id: str, id: str, piped_id: str = "", detail: str = ""
    ) -> None:
        """Add a change other than a record's write, such as new stage log lines or a push to a repository."""
        change = Change(kind=kind, project_id=project_id, piped_id=piped_id, id=id, detail=detail)
        await self.feed.write(lambda connection: connection.finish(self.feed.row(change)))

    async def put_metadata(
        self, kind: MetadataKind, id: str, project_id: str, data: bytes, *, by: Actor
    ) -> None:
        """Replace the metadata `kind` of the record `id`. Audited metadata is written only if it differs."""
        write = self.feed.write if kind.announced else self.database.write
        await write(lambda connection: self._put_metadata(connection, kind, id, project_id, data, by))

    async def record_action(
        self, operation: str, record: audit.Subject, after: Mapping[str, object], *, by: Actor
    ) -> None:
        """Add a row to the audit log for a change outside the database, such as a stored object.

        Call it before the change where the change is known, so that no change can be without a row. `after`
        describes the change.
        """
        at = self._microseconds()
        row = audit.describe(by, at, operation, record, {}, after)
        await self.database.write(lambda connection: connection.finish(audit_chain.addition(row)))

    async def get_metadata(self, kind: MetadataKind, id: str) -> tuple[bytes, int] | None:
        """The data and the time it was written (epoch microseconds), or None."""
        rows = await self.database.rows(_METADATA, {"of_kind": kind.name, "of_id": id})
        return (rows[0].data, rows[0].touched) if rows else None

    async def list_metadata(self, kind: MetadataKind, project_id: str) -> dict[str, tuple[bytes, int]]:
        """Metadata of a kind in a project: record ID → data and time it was written (epoch microseconds)."""
        rows = await self.database.rows(_METADATA_OF_PROJECT, {"kind": kind.name, "project_id": project_id})
        return {row.id: (row.data, row.touched) for row in rows}

    async def recent_metadata(self, kind: MetadataKind, since: float) -> Sequence[Any]:
        """Metadata of a kind of all projects written after `since` (epoch seconds): id, project_id, data."""
        return await self.database.rows(
            _RECENT_METADATA, {"kind": kind.name, "since": int(since * 1_000_000)}
        )

    async def delete_metadata(self, kind: MetadataKind, id: str) -> None:
        """Delete metadata of a kind without a `message`, which leaves no row in the audit log."""
        assert kind.message is None
        parameters = {"of_kind": kind.name, "of_id": id}
        await self.database.write(lambda connection: connection.execute(_DELETE_METADATA, parameters))

    async def prune_metadata(self, kind: MetadataKind, before: float) -> None:
        """Delete the metadata of a kind that was last written before `before` (epoch seconds)."""
        table = tables.metadata_rows
        old = (table.c.kind == kind.name) & (table.c.touched < int(before * 1_000_000))
        await self.database.write(lambda connection: connection.execute(sa.delete(table).where(old)))

    def _microseconds(self) -> int:
        """The time in epoch microseconds."""
        return int(self._clock.now() * 1_000_000)

    async def _write(self, function: Callable[[Connection], T], *kinds: type[Message]) -> T:
        """The result of `function`, which may write records of `kinds` in a transaction."""
        # Counted before and after, also if the caller is cancelled: a record that is read after the first
        # count may be the old one, and one that is read after the commit may be the new one.
        self.write_counts.update(kinds)
        return await self.feed.write(function, lambda: self.write_counts.update(kinds))

    def _insert(
        self,
        connection: Connection,
        message: Message,
        by: Actor,
        touched: Callable[[Message], int] | None = None,
    ) -> None:
        with _constraint_errors(KINDS[type(message)], message):
            for write in self._insertion(connection, message, by, touched):
                connection.execute(write.statement, write.values)

    def _insertion(
        self,
        connection: Connection,
        message: Message,
        by: Actor,
        touched: Callable[[Message], int] | None = None,
    ) -> Sequence[Write]:
        """The writes of a new record, that of the record first."""
        kind, at = KINDS[type(message)], self._microseconds()
        written_at = touched(message) * 1_000_000 if touched else at
        row = {**_row(kind, message, written_at), "id": _id(message), "version": 1}
        return (
            Write(_statements(kind.table).insert, row),
            self.feed.row(_change(kind, message)),
            *(() if touched else deliveries.additions(connection, type(message)(), message, at // 1_000_000)),
            *_audit_rows(by, at, "create", kind, type(message)(), message),
        )

    def _try_update(
        self,
        connection: Connection,
        type_: type[M],
        id: str,
        change: Callable[[M], None],
        by: Actor,
        detail: str,
        creating: Sequence[Message],
    ) -> Record[M]:
        """One attempt. Raises _Changed if another writer changed the record in between."""
        kind = KINDS[type_]
        statements = _statements(kind.table)
        row = connection.execute(statements.select, {"record_id": id}).one_or_none()
        if row is None:
            raise _missing(kind.name, id)
        before, message = type_.FromString(row.data), type_.FromString(row.data)
        change(message)
        for created in creating:
            self._insert(connection, created, by)
        if message == before:
            return Record(message, row.version)
        at = self._microseconds()
        values = {**_row(kind, message, at), "version": row.version + 1}
        unchanged = {"record_id": id, "unchanged_version": row.version}
        rest = [
            self.feed.row(_change(kind, message, detail)),
            *_audit_rows(by, at, "update", kind, before, message),
            *deliveries.additions(connection, before, message, at // 1_000_000),
        ]
        if (old_piped := kind.piped(before)) != kind.piped(message):
            project_id = kind.project(message)
            moved = Change(kind=kind.name, project_id=project_id, piped_id=old_piped, id=id)
            rest.append(self.feed.row(moved))
        with _constraint_errors(kind, message):
            if not connection.finish(Write(statements.update, values | unchanged), rest):
                raise _Changed
        return Record(message, row.version + 1)

    def _put_metadata(
        self,
        connection: Connection,
        kind: MetadataKind,
        id: str,
        project_id: str,
        data: bytes,
        by: Actor,
    ) -> None:
        at = self._microseconds()
        row = connection.execute(_METADATA, {"of_kind": kind.name, "of_id": id}).one_or_none()
        if kind.message and row and row.data == data:
            return
        values = {"project_id": project_id, "data": data, "touched": at}
        if row:
            key = {"of_kind": kind.name, "of_id": id}
            connection.execute(_UPDATE_METADATA, {**key, **values})
        else:
            connection.execute(_INSERT_METADATA, {"kind": kind.name, "id": id, **values})
        if kind.announced:
            self.feed.add(connection, Change(kind=kind.name, project_id=project_id, id=id))
        if kind.message:
            operation = "update" if row else "create"
            record = audit.Subject(kind=kind.name, id=id, project_id=project_id)
            old = kind.message.FromString(row.data if row else b"")
            changed = audit.changed_fields(old, kind.message.FromString(data))
            audit_chain.append(connection, [audit.describe(by, at, operation, record, *changed)])


class _Changed(Exception):
    """Another writer changed the record in between, and nothing was written."""


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


def _audit_rows(
    by: Actor, at: int, operation: str, kind: Kind, before: Message, after: Message
) -> Sequence[Write]:
    """The row of the audit log about a change."""
    record = audit.Subject(kind=kind.name, id=_id(after), project_id=kind.project(after))
    row = audit.describe(by, at, operation, record, *audit.changed_fields(before, after))
    return (audit_chain.addition(row),)


@contextmanager
def _constraint_errors(kind: Kind, message: Message) -> Iterator[None]:
    """Raises AlreadyExists or Conflict for a violated constraint."""
    try:
        yield
    except ConstraintViolated as error:
        raise _constraint_error(kind, message, error) from error


def _constraint_error(kind: Kind, message: Message, error: ConstraintViolated) -> Exception:
    if "active_application_id" in str(error):
        return Conflict(
            f"application {getattr(message, 'application_id', '')} already has another active deployment"
        )
    return AlreadyExists(f"{kind.name} {_id(message)} already exists")


def _missing(name: str, id: str) -> NotFound:
    return NotFound(f"{name} {id} does not exist; check its id, and whether it was deleted")
