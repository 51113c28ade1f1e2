"""The hash chain of the audit log: one for each project, so that a row that was changed or deleted is found.

The hash of a row is SHA-256(hash of the previous row ‖ SHA-256(content)), where the content is canonical JSON
of the row's columns. `append` adds rows in the transaction of the change; `seal` gives them their positions
and hashes, within about a second; `verify` reads the chain; `delete_old` shortens it at its beginning and
records where it begins now.

Rows are not sealed in the transaction of the change: all writers of a project would wait for one another
until each has committed, which makes PostgreSQL several times slower.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite as sqlite_dialect

from pipecd.controlplane.store import audit
from pipecd.controlplane.store.engine import Database
from pipecd.controlplane.store.statements import Connection, Write
from pipecd.controlplane.store.tables import audit as rows_table
from pipecd.controlplane.store.tables import audit_heads as heads
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

_HEAD = sa.select(heads).where(heads.c.project_id == sa.bindparam("of_project"))
_LOCKED_HEAD = _HEAD.with_for_update()
_ADVANCE = (
    sa.update(heads)
    .where(heads.c.project_id == sa.bindparam("of_project"))
    .values(position=sa.bindparam("new_position"), hash=sa.bindparam("new_hash"))
)
_INSERT = sa.insert(rows_table).inline()
_UNSEALED_PROJECTS = sa.select(rows_table.c.project_id).where(rows_table.c.position.is_(None)).distinct()
_UNSEALED = (
    sa.select(rows_table)
    .where(rows_table.c.project_id == sa.bindparam("of_project"), rows_table.c.position.is_(None))
    .order_by(rows_table.c.seq)
    .limit(_SEAL_BATCH)
)
_SEAL = (
    sa.update(rows_table)
    .where(rows_table.c.seq == sa.bindparam("of_seq"))
    .values(position=sa.bindparam("new_position"), hash=sa.bindparam("new_hash"))
)


def _seal_in_one_statement() -> sa.Update:
    """For PostgreSQL, where each statement costs a round trip. Its parameters are lists."""
    links = (
        sa.func.unnest(
            sa.bindparam("seqs", type_=postgresql.ARRAY(sa.BigInteger)),
            sa.bindparam("positions", type_=postgresql.ARRAY(sa.BigInteger)),
            sa.bindparam("hashes", type_=postgresql.ARRAY(sa.LargeBinary)),
        )
        .table_valued(sa.column("seq"), sa.column("position"), sa.column("hash"), name="links")
        .render_derived()
    )
    sealed = {"position": links.c.position, "hash": links.c.hash}
    return sa.update(rows_table).where(rows_table.c.seq == links.c.seq).values(sealed)


_SEAL_IN_ONE_STATEMENT = _seal_in_one_statement()


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


async def seal(database: Database, project_id: str | None = None, *, max_rows: int = 1_000_000) -> int:
    """Add the rows of a project, or of all, that are in no chain yet to the chain; returns how many."""
    sealed = 0
    project_ids = [project_id]
    if project_id is None:
        project_ids = [row.project_id for row in await database.rows(_UNSEALED_PROJECTS)]
    for sealed_project in project_ids:
        count = _SEAL_BATCH
        while count == _SEAL_BATCH and sealed < max_rows:
            count = await database.write(partial(_seal_batch, str(sealed_project)))
            sealed += count
    return sealed


def _seal_batch(project_id: str, connection: Connection) -> int:
    of_project = {"of_project": project_id}
    # Another replica that seals waits for the head, and then sees what this one has sealed.
    head = connection.execute(_lock(connection), of_project).one_or_none()
    if head is None:
        connection.execute(_new_head(connection), _empty_head(project_id))
        head = connection.execute(_lock(connection), of_project).one_or_none()
    position, hash_ = head.position, head.hash
    seqs, positions, hashes = [], [], []
    for row in connection.execute(_UNSEALED, of_project).all():
        position, hash_ = position + 1, _next_hash(hash_, row)
        seqs.append(row.seq)
        positions.append(position)
        hashes.append(hash_)
    if not seqs:
        return 0
    if connection.sqlite:
        for seq, new_position, new_hash in zip(seqs, positions, hashes, strict=True):
            values = {"of_seq": seq, "new_position": new_position, "new_hash": new_hash}
            connection.execute(_SEAL, values)
    else:
        lists = {"seqs": seqs, "positions": positions, "hashes": hashes}
        connection.execute(_SEAL_IN_ONE_STATEMENT, lists)
    connection.execute(_ADVANCE, {**of_project, "new_position": position, "new_hash": hash_})
    return len(seqs)


def _next_hash(previous: bytes, row: Any) -> bytes:
    content: audit.Row = dict(zip(CONTENT, _content(row), strict=True))
    return hashlib.sha256(previous + content_digest(content)).digest()


_content = attrgetter(*CONTENT)


def _lock(connection: Connection) -> Any:
    return _HEAD if connection.sqlite else _LOCKED_HEAD


def _new_head(connection: Connection) -> sa.Insert:
    """Another replica may have added it meanwhile."""
    insert: Any = sqlite_dialect.insert if connection.sqlite else postgresql.insert
    statement: sa.Insert = insert(heads).inline().on_conflict_do_nothing()
    return statement


def _empty_head(project_id: str) -> dict[str, object]:
    return {
        "project_id": project_id,
        "position": 0,
        "hash": START_HASH,
        "anchor_position": 0,
        "anchor_hash": START_HASH,
    }


_BATCH = (
    sa.select(rows_table)
    .where(
        rows_table.c.project_id == sa.bindparam("of_project"),
        rows_table.c.position > sa.bindparam("after"),
        rows_table.c.position <= sa.bindparam("up_to"),
    )
    .order_by(rows_table.c.position)
    .limit(_BATCH_SIZE)
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
    pending = await seal(database, project_id, max_rows=max_rows) >= max_rows
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
    return Verification(verified=verified, head=end, anchor=anchor, broken=broken, pending=pending)


def _verify_rows(verified: Link, batch: Sequence[Any]) -> tuple[Link, Broken | None]:
    for row in batch:
        position = verified.position + 1
        if row.position != position:
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
    recorded = json.loads(rows[0].after) if rows else {"last_position": 0, "last_hash": START_HASH.hex()}
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
    column = rows_table.c
    query = sa.select(column.hash).where(column.project_id == project_id, column.position == position)
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
    column = rows_table.c
    of_project = column.project_id == project_id

    def delete(connection: Connection) -> int:
        head = connection.execute(_lock(connection), {"of_project": project_id}).one_or_none()
        oldest = connection.execute(
            sa.select(column.position, column.hash, column.at)
            # The newest row stays, so that a chain is never empty.
            .where(of_project, column.position > head.anchor_position, column.position < head.position)
            .order_by(column.position)
            .limit(_DELETE_BATCH)
        ).all()
        expired = list(takewhile(lambda row: row.at < before, oldest))
        if not expired:
            return 0
        anchor = expired[-1]
        connection.execute(sa.delete(rows_table).where(of_project, column.position <= anchor.position))
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
