"""Messages that wait for the receivers of projects, and the last results of the receivers.

A message is stored first, and sent at least once. Its key stays for a while after it was sent: the same
occurrence, noticed again by another replica or after a restart, adds nothing.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from pipecd.controlplane.store import Store, tables
from pipecd.controlplane.store.kinds import RECEIVER_RESULT
from pipecd.controlplane.store.statements import Connection
from pipecd.model.actor import Actor

#: Messages that wait for one receiver; of more, the oldest are given up.
MAX_WAITING = 1000
#: How long keys of sent messages are stored (seconds).
RETENTION = 30 * 24 * 3600
_MAX_ERROR = 1000

_TABLE = tables.outbox
_COLUMN = _TABLE.c
_OF_RECEIVER = (
    _COLUMN.project_id == sa.bindparam("of_project"),
    _COLUMN.receiver == sa.bindparam("of_receiver"),
)
_WAITS = _COLUMN.body.is_not(None)
_EXISTS = sa.select(_COLUMN.seq).where(*_OF_RECEIVER, _COLUMN.key == sa.bindparam("of_key"))
_INSERT = sa.insert(_TABLE).inline()
_WAITING = (
    sa.select(_COLUMN.seq)
    .where(*_OF_RECEIVER, _WAITS)
    .order_by(_COLUMN.seq.desc())
    .offset(MAX_WAITING)
    .limit(MAX_WAITING)
)
_NEXT = (
    sa.select(_COLUMN.seq, _COLUMN.key, _COLUMN.body, _COLUMN.created_at, _COLUMN.due_at, _COLUMN.attempts)
    .where(*_OF_RECEIVER, _WAITS)
    .order_by(_COLUMN.seq)
    .limit(1)
)
_FINISH = sa.update(_TABLE).where(_COLUMN.seq == sa.bindparam("of_seq")).values(body=None)
_POSTPONE = (
    sa.update(_TABLE)
    .where(_COLUMN.seq == sa.bindparam("of_seq"))
    .values(due_at=sa.bindparam("new_due_at"), attempts=_COLUMN.attempts + 1)
)
_COUNTS = (
    sa.select(_COLUMN.project_id, _COLUMN.receiver, sa.func.count().label("waiting"))
    .where(_WAITS)
    .group_by(_COLUMN.project_id, _COLUMN.receiver)
)
_COUNTS_IN_PROJECT = _COUNTS.where(_COLUMN.project_id == sa.bindparam("of_project"))
_PRUNE = sa.delete(_TABLE).where(_COLUMN.body.is_(None), _COLUMN.created_at < sa.bindparam("before"))
_FORGET = sa.delete(_TABLE).where(*_OF_RECEIVER)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A message that was not sent yet. Times are epoch seconds; `attempts` have failed."""

    seq: int
    key: str
    body: str
    created_at: float
    due_at: float
    attempts: int


@dataclass(frozen=True, kw_only=True)
class Results:
    """When a receiver last accepted a message, and last did not (epoch seconds, or 0), and why not."""

    succeeded_at: int = 0
    failed_at: int = 0
    error: str = ""


async def add(
    store: Store, project_id: str, receivers: Sequence[str], key: str, body: str, now: float
) -> None:
    """Add a message for each of `receivers`. A key that a receiver had before is ignored."""

    def add(connection: Connection) -> None:
        for receiver in receivers:
            of_receiver = {"of_project": project_id, "of_receiver": receiver}
            if connection.execute(_EXISTS, {**of_receiver, "of_key": key}).all():
                continue
            row = {"project_id": project_id, "receiver": receiver, "key": key, "body": body}
            connection.execute(_INSERT, {**row, "created_at": now, "due_at": now, "attempts": 0})
            for old in connection.execute(_WAITING, of_receiver).all():
                connection.execute(_FINISH, {"of_seq": old.seq})

    await store.database.write(add)


async def waiting_in(store: Store, project_id: str) -> Mapping[str, int]:
    """Receiver of the project → how many messages wait."""
    rows = await store.database.rows(_COUNTS_IN_PROJECT, {"of_project": project_id})
    return {row.receiver: row.waiting for row in rows}


async def waiting(store: Store) -> Mapping[tuple[str, str], int]:
    """Project and receiver → how many messages wait."""
    rows = await store.database.rows(_COUNTS)
    return {(row.project_id, row.receiver): row.waiting for row in rows}


async def next_message(store: Store, project_id: str, receiver: str) -> Waiting | None:
    """The oldest message that waits, whether or not it is due: messages are sent in their order."""
    rows = await store.database.rows(_NEXT, {"of_project": project_id, "of_receiver": receiver})
    return Waiting(**rows[0]._asdict()) if rows else None


async def finish(store: Store, message: Waiting) -> None:
    """The message was sent, or is given up."""
    await store.database.write(lambda connection: connection.execute(_FINISH, {"of_seq": message.seq}))


async def postpone(store: Store, message: Waiting, due_at: float) -> None:
    values = {"of_seq": message.seq, "new_due_at": due_at}
    await store.database.write(lambda connection: connection.execute(_POSTPONE, values))


async def forget(store: Store, project_id: str, receiver: str) -> None:
    """Delete all about a receiver that was deleted: another one may get its name."""
    values = {"of_project": project_id, "of_receiver": receiver}
    await store.database.write(lambda connection: connection.execute(_FORGET, values))
    for succeeded in (True, False):
        await store.delete_metadata(RECEIVER_RESULT, _result_id(project_id, receiver, succeeded))


async def prune(store: Store, now: float) -> None:
    """Delete the keys of messages that were sent long ago."""
    values = {"before": now - RETENTION}
    await store.database.write(lambda connection: connection.execute(_PRUNE, values))


async def record_result(store: Store, project_id: str, receiver: str, error: str, *, by: Actor) -> None:
    """An attempt to send to a receiver; `error` is empty if it accepted the message."""
    id = _result_id(project_id, receiver, not error)
    await store.put_metadata(RECEIVER_RESULT, id, project_id, error[:_MAX_ERROR].encode(), by=by)


async def results(store: Store, project_id: str, receivers: Sequence[str]) -> Mapping[str, Results]:
    stored = await store.list_metadata(RECEIVER_RESULT, project_id)
    found = {}
    for receiver in receivers:
        _, succeeded_at = stored.get(_result_id(project_id, receiver, True), (b"", 0))
        error, failed_at = stored.get(_result_id(project_id, receiver, False), (b"", 0))
        found[receiver] = Results(
            succeeded_at=succeeded_at // 1_000_000,
            failed_at=failed_at // 1_000_000,
            error=error.decode(errors="replace"),
        )
    return found


def _result_id(project_id: str, receiver: str, succeeded: bool) -> str:
    digest = hashlib.sha256(f"{project_id}\0{receiver}".encode()).hexdigest()[:40]
    return f"{digest}/{'succeeded' if succeeded else 'failed'}"
