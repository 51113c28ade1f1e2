"""Counters of failed sign-ins, which all servers share. `http.throttle` decides what they mean.

A counter is found by a digest, which reveals neither a user name nor an address.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from pipecd.controlplane.store import tables
from pipecd.controlplane.store.engine import Database
from pipecd.controlplane.store.statements import Connection, ConstraintViolated

_TABLE = tables.sign_in_failures
_COLUMN = _TABLE.c
#: Counters of one sign-in. The statement has a parameter for each, so that it is compiled once.
_MAX_IDS = 3
_PARAMETERS = tuple(f"id_{number}" for number in range(_MAX_IDS))
#: In one order, so that transactions do not wait for one another in a circle.
_LOCK = (
    sa.select(_TABLE)
    .where(_COLUMN.id.in_([sa.bindparam(name, type_=sa.String()) for name in _PARAMETERS]))
    .order_by(_COLUMN.id)
    .with_for_update()
)
_INSERT = sa.insert(_TABLE)
_UPDATE = sa.update(_TABLE).where(_COLUMN.id == sa.bindparam("of_id"))
_PRUNE = sa.delete(_TABLE).where(_COLUMN.expires_at <= sa.bindparam("at"))
_NEWEST_FIRST = sa.select(_COLUMN.id).order_by(_COLUMN.expires_at.desc(), _COLUMN.id)
_OTHERS = _NEWEST_FIRST.offset(sa.bindparam("kept", type_=sa.Integer()))
_DROP = sa.delete(_TABLE).where(_COLUMN.id.in_(_OTHERS))


@dataclass(frozen=True, kw_only=True)
class Counter:
    """`failures`, as they were at `at`. The next sign-in may not begin before `next_at`.

    The counter means nothing after `expires_at`. Times are epoch seconds.
    """

    failures: float
    at: float
    next_at: float
    expires_at: float


#: By digest. A counter that does not exist has no failures.
Counters = Mapping[str, Counter]


async def change(database: Database, ids: Sequence[str], decide: Callable[[Counters], Counters]) -> Counters:
    """Store the counters that `decide` returns, given those of `ids` that exist. Returns these.

    No other server changes them meanwhile. `decide` runs in the transaction, and may run again.
    """

    def change(connection: Connection) -> Counters:
        before = _by_id(connection.execute(_LOCK, _parameters(ids)).all())
        for id, counter in sorted(decide(before).items()):
            if id in before:
                connection.execute(_UPDATE, {"of_id": id, **asdict(counter)})
            else:
                connection.execute(_INSERT, {"id": id, **asdict(counter)})
        return before

    for _ in range(_MAX_IDS):
        # Another server may add one of the counters at the same time.
        with suppress(ConstraintViolated):
            return await database.write(change)
    return await database.write(change)


async def prune(database: Database, *, now: float, max_counters: int) -> None:
    """Delete the counters that have expired and, of more than `max_counters`, those that expire first."""

    def prune(connection: Connection) -> None:
        connection.execute(_PRUNE, {"at": now})
        connection.execute(_DROP, {"kept": max_counters})

    await database.write(prune)


def _parameters(ids: Sequence[str]) -> Mapping[str, str]:
    return {name: ids[number] if number < len(ids) else "" for number, name in enumerate(_PARAMETERS)}


def _by_id(rows: Sequence[Any]) -> Counters:
    return {
        row.id: Counter(failures=row.failures, at=row.at, next_at=row.next_at, expires_at=row.expires_at)
        for row in rows
    }
