"""Leases: a name has at most one holder at a time, across all replicas.

Thousands of streams renew their leases every few seconds; those of one process are renewed together.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from pipecd.clock import Clock
from pipecd.controlplane.store.batches import Batches
from pipecd.controlplane.store.engine import Database
from pipecd.controlplane.store.statements import Connection, ConstraintViolated
from pipecd.controlplane.store.tables import leases

_NAME = leases.c.name == sa.bindparam("lease")
_AT: sa.BindParameter[float] = sa.bindparam("at")
_HOLDER = sa.select(leases.c.holder).where(_NAME, leases.c.expires_at > _AT)
_EXISTS = sa.select(leases.c.name).where(_NAME)
_BY_STREAM = sa.and_(
    _NAME, leases.c.holder == sa.bindparam("by"), leases.c.stream == sa.bindparam("by_stream")
)
_ACQUIRE = sa.update(leases).where(
    _NAME, sa.or_(leases.c.holder == sa.bindparam("by"), leases.c.expires_at <= _AT)
)
_INSERT = sa.insert(leases)
_RENEW = sa.update(leases).where(_BY_STREAM)
#: Leases that are renewed by one statement: bounds how long it takes.
_MAX_RENEWALS = 500


def _renew_in_one_statement() -> "sa.Select[Any]":
    """For PostgreSQL: its parameters are lists, and its rows the leases that were renewed."""
    lists = {
        name: sa.bindparam(f"of_{name}", type_=postgresql.ARRAY(leases.c[name].type))
        for name in ("name", "holder", "stream", "expires_at")
    }
    rows = sa.func.unnest(*lists.values()).table_valued(*map(sa.column, lists), name="rows").render_derived()
    keys = ("name", "holder", "stream")
    same = (leases.c[key] == rows.c[key] for key in keys)
    renewed = sa.update(leases).where(*same).values(expires_at=rows.c.expires_at)
    cte = renewed.returning(*(leases.c[key] for key in keys)).cte("renewed")
    return sa.select(*(cte.c[key] for key in keys))


_RENEW_IN_ONE_STATEMENT = _renew_in_one_statement()
_IS_REPLACED = sa.select(leases.c.name).where(
    _NAME,
    leases.c.holder == sa.bindparam("by"),
    leases.c.stream != sa.bindparam("by_stream"),
    leases.c.expires_at > _AT,
)
_RELEASE = sa.delete(leases).where(_BY_STREAM)
_PRUNE = sa.delete(leases).where(leases.c.expires_at < _AT)


def piped_lease_name(piped_id: str) -> str:
    """Name of the lease held by the active process of a piped."""
    return f"piped/{piped_id}"


@dataclass(frozen=True, kw_only=True)
class _Renewal:
    """The columns of a lease that is renewed."""

    name: str
    holder: str
    stream: str
    expires_at: float


class Leases:
    def __init__(self, database: Database, clock: Clock, window: float) -> None:
        self._database, self._clock = database, clock
        self._renewals = Batches(self._renew, clock, window=window, max_size=_MAX_RENEWALS)

    async def acquire(self, name: str, holder: str, seconds: float, *, stream: str = "") -> bool:
        """Acquire or renew the lease for `seconds`. False while another holder has it.

        `stream` is the connection of the holder that will renew it; it replaces an earlier one.
        """
        at = self._clock.now()
        values = {"holder": holder, "expires_at": at + seconds, "stream": stream}

        def acquire(connection: Connection) -> bool:
            if connection.execute(_ACQUIRE, {"lease": name, "by": holder, "at": at, **values}).rowcount:
                return True
            if connection.execute(_EXISTS, {"lease": name}).one_or_none():
                return False
            connection.execute(_INSERT, {"name": name, **values})
            return True

        try:
            return await self._database.write(acquire)
        except ConstraintViolated:
            return False

    async def renew(self, name: str, holder: str, seconds: float, *, stream: str) -> bool:
        """Renew the lease for `seconds`. False if `holder` no longer has it by `stream`."""
        expires_at = self._clock.now() + seconds
        renewal = _Renewal(name=name, holder=holder, stream=stream, expires_at=expires_at)
        return await self._renewals.add(renewal)

    async def _renew(self, renewals: Sequence[_Renewal]) -> Sequence[bool]:
        return await self._database.write(lambda connection: _renew_all(connection, renewals))

    async def is_replaced(self, name: str, holder: str, *, stream: str) -> bool:
        """Whether a later stream of the same holder has the lease."""
        parameters = {"lease": name, "by": holder, "by_stream": stream, "at": self._clock.now()}
        return bool(await self._database.rows(_IS_REPLACED, parameters))

    async def holder(self, name: str) -> str:
        """The current holder; empty if there is none."""
        rows = await self._database.rows(_HOLDER, {"lease": name, "at": self._clock.now()})
        return str(rows[0].holder) if rows else ""

    async def find_held(self, names: Collection[str]) -> set[str]:
        """The subset of `names` that are held."""
        at = self._clock.now()
        query = sa.select(leases.c.name).where(leases.c.name.in_(names) & (leases.c.expires_at > at))
        return {row.name for row in await self._database.rows(query)}

    async def release(self, name: str, holder: str, *, stream: str = "") -> bool:
        """Release the lease if `holder` has it by `stream`. Returns whether it had."""
        parameters = {"lease": name, "by": holder, "by_stream": stream}
        return await self._database.write(
            lambda connection: bool(connection.execute(_RELEASE, parameters).rowcount)
        )

    async def prune(self) -> None:
        """Delete leases that expired more than an hour ago."""
        parameters = {"at": self._clock.now() - 3600}
        await self._database.write(lambda connection: connection.execute(_PRUNE, parameters))


def _renew_all(connection: Connection, renewals: Sequence[_Renewal]) -> Sequence[bool]:
    """Whether each lease is still held by the stream, and so was renewed."""
    if connection.sqlite:
        return [bool(connection.execute(_RENEW, _renewed(renewal)).rowcount) for renewal in renewals]
    lists = {
        f"of_{field.name}": [getattr(renewal, field.name) for renewal in renewals]
        for field in fields(_Renewal)
    }
    rows = connection.execute(_RENEW_IN_ONE_STATEMENT, lists).all()
    renewed = {(row.name, row.holder, row.stream) for row in rows}
    return [(renewal.name, renewal.holder, renewal.stream) in renewed for renewal in renewals]


def _renewed(renewal: _Renewal) -> dict[str, object]:
    of_lease = {"lease": renewal.name, "by": renewal.holder, "by_stream": renewal.stream}
    return {**of_lease, "expires_at": renewal.expires_at}
