"""Leases: at most one holder of a name at a time, over any number of replicas."""

import time
from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from pipecd.controlplane.store.engine import Database
from pipecd.controlplane.store.tables import leases


def lease_of(piped_id: str) -> str:
    """The name of the lease that the working process of a piped holds."""
    return f"piped/{piped_id}"


class Leases:
    """`now` may be given by tests; it is seconds since the epoch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def acquire(self, name: str, holder: str, seconds: float, now: float | None = None) -> bool:
        """Takes or renews the lease. False while somebody else holds it."""
        at = time.time() if now is None else now
        mine_or_free = (leases.c.holder == holder) | (leases.c.expires_at <= at)
        values = {"holder": holder, "expires_at": at + seconds}
        try:
            async with self._database.write() as connection:
                done = await connection.execute(
                    sa.update(leases).where((leases.c.name == name) & mine_or_free).values(values)
                )
                if done.rowcount:
                    return True
                found = await connection.execute(sa.select(leases.c.name).where(leases.c.name == name))
                if found.one_or_none():
                    return False
                await connection.execute(sa.insert(leases).values(name=name, **values))
        except IntegrityError:
            return False
        return True

    async def holder(self, name: str, now: float | None = None) -> str:
        """Who holds it; empty when nobody does."""
        at = time.time() if now is None else now
        query = sa.select(leases.c.holder).where((leases.c.name == name) & (leases.c.expires_at > at))
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalar() or ""

    async def held(self, names: Collection[str], now: float | None = None) -> set[str]:
        """Those of `names` that somebody holds."""
        at = time.time() if now is None else now
        query = sa.select(leases.c.name).where(leases.c.name.in_(names) & (leases.c.expires_at > at))
        async with self._database.read() as connection:
            return set((await connection.execute(query)).scalars())

    async def release(self, name: str, holder: str) -> None:
        """Gives it up, if `holder` has it."""
        async with self._database.write() as connection:
            await connection.execute(
                sa.delete(leases).where((leases.c.name == name) & (leases.c.holder == holder))
            )

    async def sweep(self, now: float | None = None) -> None:
        """Deletes leases that expired long ago."""
        at = (time.time() if now is None else now) - 3600
        async with self._database.write() as connection:
            await connection.execute(sa.delete(leases).where(leases.c.expires_at < at))
