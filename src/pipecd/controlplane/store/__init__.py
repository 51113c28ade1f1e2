"""Records of the control plane: read, made, changed by compare-and-set, listed to the last page.

    store = await Store.open("sqlite+aiosqlite:///pipecd.db")
    record = await store.get(Application, id)            # Record(message, version); NotFound
    await store.create(application)                      # AlreadyExists
    record = await store.update(Application, id, change) # `change(message)` may raise to refuse
    page = await lists.applications(store, project_id, …)

`update` reads, lets `change` alter the message, and writes only if nobody wrote in between, else does
all of it again; a change that alters nothing writes nothing. Each write leaves a row in the change feed
in the same transaction (`store.feed`). An application's second deployment at work is a Conflict.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import sqlalchemy as sa
from google.protobuf.message import Message
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from pipecd.controlplane.store import tables
from pipecd.controlplane.store.engine import Database
from pipecd.controlplane.store.feed import Change, Feed
from pipecd.controlplane.store.kinds import KINDS, Kind
from pipecd.controlplane.store.leases import Leases
from pipecd.controlplane.store.migrate import migrate_database
from pipecd.errors import AlreadyExists, Conflict, NotFound, Temporary

M = TypeVar("M", bound=Message)
#: How often a change is tried against others' changes of the same record.
CAS_TRIES = 30


@dataclass(frozen=True)
class Record(Generic[M]):
    """A message as it is stored. `version` grows by one with every write."""

    message: M
    version: int


class Store:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.feed = Feed(database)
        self.leases = Leases(database)
        #: How often this process wrote each kind: what is remembered of one is good while this stands.
        self.writes: Counter[type[Message]] = Counter()

    @classmethod
    async def open(cls, url: str) -> Self:
        """Brings the schema up to date first. Raises ConfigError or Temporary."""
        await migrate_database(url)
        return cls(Database(url))

    async def close(self) -> None:
        await self.database.close()

    async def healthy(self) -> None:
        """Raises Temporary when the database does not answer."""
        async with self.database.read() as connection:
            await connection.execute(sa.select(sa.literal(1)))

    async def get(self, kind: type[M], id: str) -> Record[M]:
        """Raises NotFound."""
        table = KINDS[kind].table
        async with self.database.read() as connection:
            row = (
                await connection.execute(sa.select(table.c.data, table.c.version).where(table.c.id == id))
            ).one_or_none()
        if row is None:
            raise NotFound(f"there is no {KINDS[kind].name} {id}")
        return Record(kind.FromString(row.data), row.version)

    async def create(self, message: Message) -> None:
        """Raises AlreadyExists for a known id, Conflict for an application's second deployment at work."""
        kind = KINDS[type(message)]
        try:
            async with self._writing(type(message)) as connection:
                row = {**_row(kind, message), "id": _id(message), "version": 1}
                await connection.execute(sa.insert(kind.table).values(row))
                await self.feed.add(connection, _change(kind, message))
        except IntegrityError as error:
            raise _broken(kind, message, error) from error

    async def update(
        self, type_: type[M], id: str, change: Callable[[M], None], detail: str = ""
    ) -> Record[M]:
        """The record as it is now. Raises NotFound, Conflict, and whatever `change` raises.

        `detail` goes along in the change feed.
        """
        kind = KINDS[type_]
        for attempt in range(CAS_TRIES):
            record = await self._try(kind, type_, id, change, detail)
            if record is not None:
                return record
            await asyncio.sleep(random.uniform(0, 0.002 * 2 ** min(attempt, 6)))
        raise Temporary(f"{kind.name} {id} is being changed by too many at once", after=1.0)

    async def announce(
        self, kind: str, *, project_id: str, id: str, piped_id: str = "", detail: str = ""
    ) -> None:
        """A change that is no record's: a stage's log grew, a repository was pushed to."""
        change = Change(kind=kind, project_id=project_id, piped_id=piped_id, id=id, detail=detail)
        async with self.feed.telling() as connection:
            await self.feed.add(connection, change)

    async def put_fact(self, kind: str, id: str, project_id: str, data: bytes, announce: str = "") -> None:
        """Replaces the fact `kind` of `id`; `announce` names a change that watchers hear of."""
        key = (tables.facts.c.kind == kind) & (tables.facts.c.id == id)
        values = {"project_id": project_id, "data": data, "touched": microseconds()}
        async with self.feed.telling() if announce else self.database.write() as connection:
            done = await connection.execute(sa.update(tables.facts).where(key).values(values))
            if not done.rowcount:
                await connection.execute(sa.insert(tables.facts).values(kind=kind, id=id, **values))
            if announce:
                await self.feed.add(connection, Change(kind=announce, project_id=project_id, id=id))

    async def get_fact(self, kind: str, id: str) -> tuple[bytes, int] | None:
        """The fact and the microsecond it was put, or None."""
        where = (tables.facts.c.kind == kind) & (tables.facts.c.id == id)
        async with self.database.read() as connection:
            row = (
                await connection.execute(sa.select(tables.facts.c.data, tables.facts.c.touched).where(where))
            ).one_or_none()
        return (row.data, row.touched) if row else None

    async def facts(self, kind: str, project_id: str) -> dict[str, tuple[bytes, int]]:
        """Every fact of a kind in a project, by the id it belongs to."""
        table = tables.facts
        where = (table.c.kind == kind) & (table.c.project_id == project_id)
        async with self.database.read() as connection:
            rows = await connection.execute(sa.select(table.c.id, table.c.data, table.c.touched).where(where))
            return {row.id: (row.data, row.touched) for row in rows}

    @asynccontextmanager
    async def _writing(self, kind: type[Message]) -> AsyncIterator[AsyncConnection]:
        """A transaction that may change records of `kind`, even one whose caller went away."""
        try:
            async with self.feed.telling() as connection:
                yield connection
        finally:
            self.writes[kind] += 1

    async def _try(
        self, kind: Kind, type_: type[M], id: str, change: Callable[[M], None], detail: str
    ) -> Record[M] | None:
        """One attempt; None when somebody else wrote in between."""
        table = kind.table
        try:
            async with self._writing(type_) as connection:
                found = (
                    await connection.execute(sa.select(table.c.data, table.c.version).where(table.c.id == id))
                ).one_or_none()
                if found is None:
                    raise NotFound(f"there is no {kind.name} {id}")
                message = type_.FromString(found.data)
                before = type_()
                before.CopyFrom(message)
                change(message)
                if message == before:
                    return Record(message, found.version)
                row = {**_row(kind, message), "version": found.version + 1}
                unchanged = (table.c.id == id) & (table.c.version == found.version)
                done = await connection.execute(sa.update(table).where(unchanged).values(row))
                if done.rowcount != 1:
                    return None
                await self.feed.add(connection, _change(kind, message, detail))
                if (was := kind.piped(before)) != kind.piped(message):
                    moved = Change(kind=kind.name, project_id=kind.project(message), piped_id=was, id=id)
                    await self.feed.add(connection, moved)
        except IntegrityError as error:
            raise _broken(kind, message, error) from error
        return Record(message, found.version + 1)


def microseconds() -> int:
    return time.time_ns() // 1000


def _id(message: Any) -> str:
    return str(message.id)


def _row(kind: Kind, message: Message) -> dict[str, Any]:
    return {
        "project_id": kind.project(message),
        "data": message.SerializeToString(deterministic=True),
        "touched": microseconds(),
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


def _broken(kind: Kind, message: Message, error: IntegrityError) -> Exception:
    if "active_application_id" in str(error.orig):
        return Conflict(
            f"application {getattr(message, 'application_id', '')} has another deployment at work already"
        )
    return AlreadyExists(f"there is a {kind.name} {_id(message)} already")
