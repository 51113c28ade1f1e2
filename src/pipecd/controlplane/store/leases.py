"""Leases: a name has at most one holder at a time, across all replicas."""

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from pipecd.clock import Clock
from pipecd.controlplane.store.engine import Database
from pipecd.controlplane.store.tables import leases


def piped_lease_name(piped_id: str) -> str:
    """Name of the lease held by the active process of a piped."""
    return f"piped/{piped_id}"


class Leases:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def acquire(self, name: str, holder: str, seconds: float) -> bool:
        """Acquire or renew the lease for `seconds`. False while another holder has it."""
        at = self._clock.now()
        available = (leases.c.holder == holder) | (leases.c.expires_at <= at)
        values = {"holder": holder, "expires_at": at + seconds}
        try:
            async with self._database.write() as connection:
                updated = await connection.execute(
                    sa.update(leases).where((leases.c.name == name) & available).values(values)
                )
                if updated.rowcount:
                    return True
                existing = await connection.execute(sa.select(leases.c.name).where(leases.c.name == name))
                if existing.one_or_none():
                    return False
                await connection.execute(sa.insert(leases).values(name=name, **values))
        except IntegrityError:
            return False
        return True

    async def holder(self, name: str) -> str:
        """The current holder; empty if there is none."""
        at = self._clock.now()
        query = sa.select(leases.c.holder).where((leases.c.name == name) & (leases.c.expires_at > at))
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalar() or ""

    async def find_held(self, names: Collection[str]) -> set[str]:
        """The subset of `names` that are held."""
        at = self._clock.now()
        query = sa.select(leases.c.name).where(leases.c.name.in_(names) & (leases.c.expires_at > at))
        async with self._database.read() as connection:
            return set((await connection.execute(query)).scalars())

    async def release(self, name: str, holder: str) -> None:
        """Release the lease if `holder` has it."""
        async with self._database.write() as connection:
            await connection.execute(
                sa.delete(leases).where((leases.c.name == name) & (leases.c.holder == holder))
            )

    async def prune(self) -> None:
        """Delete leases that expired more than an hour ago."""
        at = self._clock.now() - 3600
        async with self._database.write() as connection:
            await connection.execute(sa.delete(leases).where(leases.c.expires_at < at))
