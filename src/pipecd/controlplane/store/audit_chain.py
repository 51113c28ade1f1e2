"""The hash chain of the audit log: one for each project, so that a row that was changed or deleted is found.

The hash of a row is SHA-256(hash of the previous row ‖ SHA-256(content)), where the content is canonical JSON
of the row's columns. `append` adds rows in the transaction of the change; `seal` adds their positions and
hashes to a table of their own, within about a second; `verify` reads the chain; `delete_old` shortens it at
its beginning and records where it begins now.

Rows are not sealed in the transaction of the change: all writers of a project would wait for one another
until each has committed, which makes PostgreSQL several times slower. And a row is not written again to seal
it, which would cost as much as the first time.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from pipecd.controlplane.store import audit
from pipecd.controlplane.store.engine import Database
from pipecd.controlplane.store.statements import Connection, Write
from pipecd.controlplane.store.tables import audit as rows_table
from pipecd.controlplane.store.tables import audit_heads as heads
from pipecd.controlplane.store.tables import audit_links as links
from pipecd.controlplane.store.tables import audit_sealing as sealing
from pipecd.json_input import decode_json
from pipecd.model.actor import Actor

#: Columns that are part of a row's content, as `audit.describe` returns them.
CONTENT = (
    "at",
    "project_id",
    "actor_kind",
    "actor_id",
    "actor_name",
    "actor_project_id",
    "address",
    "action",
    "operation",
    "record_kind",
    "record_id",
    "before",
    "after",
)
#: Hash before the first row of a chain.
START_HASH = bytes(32)
#: Kind of the record of rows about the audit log itself.
AUDIT_LOG = "audit_log"
#: Rows per query of `verify`.
_BATCH_SIZE = 500
#: Rows per transaction of `seal`, which blocks the event loop or SQLite's writer for some milliseconds.
_SEAL_BATCH = 250
#: Rows that are deleted in one transaction: bounds how long it locks the head.
_DELETE_BATCH = 2_000

_INSERT = sa.insert(rows_table).inline()
_HEAD = sa.select(heads).where(heads.c.project_id == sa.bindparam("of_project"))
_LOCKED_HEAD = _HEAD.with_for_update()
_NEW_HEAD = sa.insert(heads).inline()
_ADVANCE = (
    sa.update(heads)
    .where(heads.c.project_id == sa.bindparam("of_project"))
    .values(position=sa.bindparam("new_position"), hash=sa.bindparam("new_hash"))
)
_NEWEST = sa.select(sa.func.max(rows_table.c.seq).label("newest"))
_SEALING = sa.select(sealing)
_LOCKED_SEALING = _SEALING.with_for_update()
_SET_CANDIDATE = sa.update(sealing).values(
    candidate=sa.bindparam("new_candidate"), writers=sa.bindparam("new_writers")
)
_SETTLE = (
    sa.update(sealing).where(sealing.c.settled < sa.bindparam("up_to")).values(settled=sa.bindparam("up_to"))
)
#: Also bounded in `links`, so that no plan of the database reads all of them.
_UNSEALED = (
    sa.select(rows_table)
    .where(
        rows_table.c.seq > sa.bindparam("after"),
        ~sa.exists().where(links.c.seq == rows_table.c.seq, links.c.seq > sa.bindparam("after")),
    )
    .order_by(rows_table.c.seq)
    .limit(_SEAL_BATCH)
)
_LINK = sa.insert(links).inline()
#: Transactions of PostgreSQL that write to the log. Each locks the table before it takes a `seq`.
_WRITERS: sa.Select[Any] = (
    sa.select(sa.column("virtualtransaction"))
    .select_from(sa.table("pg_locks"))
    .where(
        sa.literal_column("database = (SELECT oid FROM pg_database WHERE datname = current_database())"),
        sa.literal_column("relation = CAST('audit' AS regclass)"),
        sa.literal_column("mode = 'RowExclusiveLock'"),
    )
)


def _link_in_one_statement() -> sa.Insert:
    """For PostgreSQL, where each statement costs a round trip. Its parameters are lists."""
    lists = {
        "seq": sa.bindparam("seqs", type_=postgresql.ARRAY(sa.BigInteger)),
        "project_id": sa.bindparam("projects", type_=postgresql.ARRAY(sa.Text)),
        "position": sa.bindparam("positions", type_=postgresql.ARRAY(sa.BigInteger)),
        "hash": sa.bindparam("hashes", type_=postgresql.ARRAY(sa.LargeBinary)),
    }
    rows = sa.func.unnest(*lists.values()).table_valued(*map(sa.column, lists), name="rows").render_derived()
    return sa.insert(links).from_select(list(lists), sa.select(*(rows.c[name] for name in lists)))


_LINK_IN_ONE_STATEMENT = _link_in_one_statement()


@dataclass(frozen=True, kw_only=True)
class Link:
    """A row of a chain, by its position and hash."""

    position: int = 0
    hash: bytes = START_HASH


@dataclass(frozen=True, kw_only=True)
class Broken:
    """The first row that does not fit into the chain. `row` is the stored row, if there is one."""

    position: int
    reason: str
    row: Any = None


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Result of `verify`. `verified` is the last row that fits; `head` the newest row of the chain.

    `anchor` is the last row that was deleted because of its age.
    """

    verified: Link
    head: Link
    anchor: Link
    broken: Broken | None = None
    #: Whether there are rows that are in no chain yet.
    pending: bool = False

    @property
    def completed(self) -> bool:
        if self.broken is not None:
            return True
        return not self.pending and self.verified.position >= self.head.position


def content_digest(row: audit.Row) -> bytes:
    """SHA-256 of the row's content. `row` has the columns `CONTENT`."""
    return hashlib.sha256(audit.canonical(row).encode()).digest()


def addition(row: audit.Row) -> Write:
    """Adds the row, in the transaction of the change that it describes."""
    return Write(_INSERT, row)


def append(connection: Connection, rows: Sequence[audit.Row]) -> None:
    """Add rows, in the transaction of the change that they describe."""
    for row in rows:
        connection.execute(_INSERT, row)


async def seal(database: Database, *, max_rows: int = 1_000_000) -> int:
    """Add the rows that are in no chain yet to the chains of their projects; returns how many, all if fewer.

    Rows that were read before are not read again: they are `settled`. A transaction may commit after others
    whose rows have higher numbers, so that the rows up to a number are settled only when every transaction
    has ended that was writing when it was the newest one.
    """
    ((newest, settled),) = await database.rows(_PROGRESS)
    if (newest or 0) <= settled:
        return 0
    start, settles = await database.write(_begin)
    sealed, after = 0, start
    while sealed < max_rows:
        count, after = await database.write(partial(_seal_batch, after))
        sealed += count
        if count < _SEAL_BATCH:
            if settles > start:
                await database.write(lambda connection: connection.execute(_SETTLE, {"up_to": settles}))
            break
    return sealed


_PROGRESS = sa.select(_NEWEST.scalar_subquery(), sealing.c.settled)


def _begin(connection: Connection) -> tuple[int, int]:
    """The number after which rows may be in no chain, and that up to which all are when they were read."""
    progress = _lock_sealing(connection)
    # In this order: a transaction whose row has a lower number is a writer, or has ended.
    newest = connection.execute(_NEWEST).one_or_none().newest or 0
    writers = _load_writers(connection)
    if not writers:
        return progress.settled, newest
    if writers & set(progress.writers.split()):
        return progress.settled, progress.settled
    candidate = {"new_candidate": newest, "new_writers": " ".join(sorted(writers))}
    connection.execute(_SET_CANDIDATE, candidate)
    return progress.settled, progress.candidate


def _load_writers(connection: Connection) -> set[str]:
    """SQLite has one writer at a time, which is this one."""
    if connection.sqlite:
        return set()
    return {row.virtualtransaction for row in connection.execute(_WRITERS).all()}


def _lock_sealing(connection: Connection) -> Any:
    """Another replica that seals waits here, and then sees what this one has sealed."""
    return connection.execute(_SEALING if connection.sqlite else _LOCKED_SEALING).one_or_none()


def _seal_batch(after: int, connection: Connection) -> tuple[int, int]:
    """Seal some rows with numbers above `after`; returns how many, and the highest number."""
    _lock_sealing(connection)
    rows = connection.execute(_UNSEALED, {"after": after}).all()
    if not rows:
        return 0, after
    ends: dict[str, tuple[int, bytes]] = {}
    new_links = []
    for row in rows:
        if row.project_id not in ends:
            ends[row.project_id] = _end_of_chain(connection, row.project_id)
        position, hash_ = ends[row.project_id]
        end = position + 1, _next_hash(hash_, row)
        ends[row.project_id] = end
        new_links.append((row.seq, row.project_id, *end))
    _insert_links(connection, new_links)
    for project_id, (position, hash_) in ends.items():
        advanced = {"of_project": project_id, "new_position": position, "new_hash": hash_}
        connection.execute(_ADVANCE, advanced)
    return len(rows), rows[-1].seq


def _end_of_chain(connection: Connection, project_id: str) -> tuple[int, bytes]:
    """Position and hash of the newest row of the chain, which begins if there is none."""
    head = connection.execute(_HEAD, {"of_project": project_id}).one_or_none()
    if head is None:
        connection.execute(_NEW_HEAD, _empty_head(project_id))
        return 0, START_HASH
    return head.position, head.hash


def _insert_links(connection: Connection, new_links: Sequence[tuple[int, str, int, bytes]]) -> None:
    if connection.sqlite:
        for link in new_links:
            connection.execute(_LINK, dict(zip(("seq", "project_id", "position", "hash"), link, strict=True)))
    else:
        columns = [list(column) for column in zip(*new_links, strict=True)]
        names = ("seqs", "projects", "positions", "hashes")
        connection.execute(_LINK_IN_ONE_STATEMENT, dict(zip(names, columns, strict=True)))


def _next_hash(previous: bytes, row: Any) -> bytes:
    content: audit.Row = dict(zip(CONTENT, _content(row), strict=True))
    return hashlib.sha256(previous + content_digest(content)).digest()


_content = attrgetter(*CONTENT)


def _lock_head(connection: Connection, project_id: str) -> Any:
    query = _HEAD if connection.sqlite else _LOCKED_HEAD
    return connection.execute(query, {"of_project": project_id}).one_or_none()


def _empty_head(project_id: str) -> dict[str, object]:
    return {
        "project_id": project_id,
        "position": 0,
        "hash": START_HASH,
        "anchor_position": 0,
        "anchor_hash": START_HASH,
    }


_BATCH = (
    sa.select(links.c.position, links.c.hash, rows_table)
    .outerjoin_from(links, rows_table, rows_table.c.seq == links.c.seq)
    .where(
        links.c.project_id == sa.bindparam("of_project"),
        links.c.position > sa.bindparam("after"),
        links.c.position <= sa.bindparam("up_to"),
    )
    .order_by(links.c.position)
    .limit(_BATCH_SIZE)
)
_OUTSIDE = (
    sa.select(rows_table)
    .where(
        rows_table.c.project_id == sa.bindparam("of_project"),
        rows_table.c.seq <= sa.select(sealing.c.settled).scalar_subquery(),
        ~sa.exists().where(links.c.seq == rows_table.c.seq),
    )
    .limit(1)
)
_LAST_DELETION = (
    sa.select(rows_table.c.after)
    .where(
        rows_table.c.project_id == sa.bindparam("of_project"),
        rows_table.c.record_id == AUDIT_LOG,
        rows_table.c.record_kind == AUDIT_LOG,
    )
    .order_by(rows_table.c.at.desc(), rows_table.c.seq.desc())
    .limit(1)
)


async def verify(
    database: Database, project_id: str, after: Link | None = None, *, max_rows: int = 20_000
) -> Verification:
    """Verify up to `max_rows` rows of the project's chain after `after`, which was verified before.

    None begins with the oldest row.
    """
    pending = await seal(database, max_rows=max_rows) >= max_rows
    head = await _load_head(database, project_id)
    anchor = Link(position=head.anchor_position, hash=head.anchor_hash)
    if after is None and (broken := await _check_anchor(database, project_id, anchor)):
        end = Link(position=head.position, hash=head.hash)
        return Verification(verified=Link(), head=end, anchor=anchor, broken=broken)
    verified = after if after is not None and after.position >= anchor.position else anchor
    broken, read = None, 0
    while broken is None and verified.position < head.position and read < max_rows:
        parameters = {"of_project": project_id, "after": verified.position, "up_to": head.position}
        batch = await database.rows(_BATCH, parameters)
        # Not on the event loop: 500 rows take several milliseconds.
        verified, broken = await asyncio.to_thread(_verify_rows, verified, batch)
        if broken is None and not batch:
            broken = _missing(verified.position + 1)
        if broken and broken.row is None:
            # Old rows may have been deleted, with a new anchor, since the head was read.
            head = await _load_head(database, project_id)
            if head.anchor_position >= broken.position:
                anchor = verified = Link(position=head.anchor_position, hash=head.anchor_hash)
                broken = None
        read += len(batch)
    end = Link(position=head.position, hash=head.hash)
    if broken is None and verified.position == end.position and verified.hash != end.hash:
        broken = Broken(
            position=end.position, reason="its hash is not the one that the head of the chain has"
        )
    if broken is None and verified.position == end.position and not pending:
        broken = await _find_outside(database, project_id, end)
    return Verification(verified=verified, head=end, anchor=anchor, broken=broken, pending=pending)


async def _find_outside(database: Database, project_id: str, end: Link) -> Broken | None:
    """A row that was added to the log, but not by the server, which adds all of its rows to the chain."""
    rows = await database.rows(_OUTSIDE, {"of_project": project_id})
    if not rows:
        return None
    reason = "a row of the log is in no chain: it was added, or its place in the chain was deleted"
    return Broken(position=end.position + 1, reason=reason, row=rows[0])


def _verify_rows(verified: Link, batch: Sequence[Any]) -> tuple[Link, Broken | None]:
    for row in batch:
        position = verified.position + 1
        if row.position != position or row.seq is None:
            return verified, _missing(position)
        hash_ = _next_hash(verified.hash, row)
        if hash_ != row.hash:
            reason = "its content or its hash was changed, or a row before it was replaced"
            return verified, Broken(position=position, reason=reason, row=row)
        verified = Link(position=position, hash=hash_)
    return verified, None


def _missing(position: int) -> Broken:
    return Broken(position=position, reason="it was deleted")


async def _check_anchor(database: Database, project_id: str, anchor: Link) -> Broken | None:
    """The anchor must be the one that the last deletion of old rows has recorded in the chain."""
    rows = await database.rows(_LAST_DELETION, {"of_project": project_id})
    recorded = decode_json(rows[0].after) if rows else {"last_position": 0, "last_hash": START_HASH.hex()}
    # Read again: old rows may have been deleted since.
    head = await _load_head(database, project_id)
    current = Link(position=head.anchor_position, hash=head.anchor_hash)
    for link in (anchor, current):
        if (recorded.get("last_position"), recorded.get("last_hash")) == (link.position, link.hash.hex()):
            return None
    return Broken(
        position=anchor.position + 1,
        reason="the audit log has no record of the deletion of the rows before it",
    )


async def hash_at(database: Database, project_id: str, position: int) -> bytes | None:
    """The stored hash of the row at `position`, or None if there is no such row."""
    query = sa.select(links.c.hash).where(links.c.project_id == project_id, links.c.position == position)
    rows = await database.rows(query)
    return rows[0].hash if rows else None


async def delete_old(database: Database, before: int, at: int, by: Actor) -> int:
    """Delete the rows of all projects that were added before `before`; returns how many.

    Both times are in epoch microseconds; `at` is now. Each project's log gets a row about the deletion.
    """
    deleted = 0
    for (project_id,) in await database.rows(sa.select(heads.c.project_id)):
        while True:
            count = await database.write(_deleting(project_id, before, at, by))
            deleted += count
            if count < _DELETE_BATCH:
                break
    return deleted


def _deleting(project_id: str, before: int, at: int, by: Actor) -> Callable[[Connection], int]:
    def delete(connection: Connection) -> int:
        head = _lock_head(connection, project_id)
        oldest = connection.execute(
            sa.select(links.c.position, links.c.hash, rows_table.c.at)
            .join_from(links, rows_table, rows_table.c.seq == links.c.seq)
            # The newest row stays, so that a chain is never empty.
            .where(
                links.c.project_id == project_id,
                links.c.position > head.anchor_position,
                links.c.position < head.position,
            )
            .order_by(links.c.position)
            .limit(_DELETE_BATCH)
        ).all()
        expired = list(takewhile(lambda row: row.at < before, oldest))
        if not expired:
            return 0
        anchor = expired[-1]
        deleted = sa.and_(links.c.project_id == project_id, links.c.position <= anchor.position)
        seqs = sa.select(links.c.seq).where(deleted)
        connection.execute(sa.delete(rows_table).where(rows_table.c.seq.in_(seqs)))
        connection.execute(sa.delete(links).where(deleted))
        connection.execute(
            sa.update(heads)
            .where(heads.c.project_id == project_id)
            .values(anchor_position=anchor.position, anchor_hash=anchor.hash)
        )
        record = audit.Subject(kind=AUDIT_LOG, id=AUDIT_LOG, project_id=project_id)
        after = {
            "deleted": len(expired),
            "last_position": anchor.position,
            "last_hash": anchor.hash.hex(),
        }
        append(connection, [audit.describe(by, at, "delete", record, {}, after)])
        return len(expired)

    return delete


async def _load_head(database: Database, project_id: str) -> Any:
    rows = await database.rows(_HEAD, {"of_project": project_id})
    return rows[0] if rows else _NO_HEAD


@dataclass(frozen=True)
class _NoHead:
    position: int = 0
    hash: bytes = START_HASH
    anchor_position: int = 0
    anchor_hash: bytes = START_HASH


_NO_HEAD = _NoHead()
