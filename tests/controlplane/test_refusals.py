"""A flood of refused calls leaves few rows in the audit log, and their number."""

import asyncio
import json
from pathlib import Path

import sqlalchemy as sa

from pipecd.controlplane.auth.refusals import Refusals
from pipecd.controlplane.settings import AuthSettings
from pipecd.controlplane.store import Store, tables
from pipecd.model.actor import Actor, ActorKind
from tests.virtual_clock import VirtualClock


def caller(name: str, address: str = "192.0.2.1", action: str = "/S/Call") -> Actor:
    return Actor(kind=ActorKind.PERSON, id=name, name=name, action=action, project_id="shop", address=address)


async def test_a_flood_of_refusals_leaves_few_rows_and_their_number(tmp_path: Path) -> None:
    clock = VirtualClock()
    store = await Store.open(f"sqlite:///{tmp_path / 'db'}")
    refusals = Refusals(store, clock, AuthSettings(refusal_window=3600.0, max_refusals=10))

    async def recorded() -> list[tuple[str, int]]:
        """Write the rows that wait, and return the actor and the number of each."""
        await refusals.flush()
        found = await store.database.rows(sa.select(tables.audit).order_by(tables.audit.c.seq))
        return [(row.actor_id, json.loads(row.after).get("times", 1)) for row in found]

    for _ in range(1000):
        refusals.add(caller("ann"), "may not")
    assert await recorded() == [("ann", 1)]
    # Invented user names of one address are one caller.
    for number in range(1000):
        refusals.add(caller(f"u{number}", action="sign-in"), "wrong password")
    assert await recorded() == [("ann", 1), ("u0", 1)]
    # Many addresses: the project's rows are limited.
    for number in range(1000):
        refusals.add(caller("bob", f"192.0.2.{number}"), "may not")
    assert len(await recorded()) == 10
    await clock.advance(3600.0)
    refusals.add(caller("ann"), "may not")
    rows = (await recorded())[10:]
    assert rows[0] == ("ann", 1000), "the number since the first row, with this one"
    assert len(rows) == 10
    await store.close()


async def test_what_waits_at_the_end_of_the_program_is_written(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path / 'db'}")
    refusals = Refusals(store, VirtualClock(), AuthSettings())
    task = asyncio.create_task(refusals.run())
    await asyncio.sleep(0)
    for name in ("ann", "bob", "eve"):
        refusals.add(caller(name), "may not")
    task.cancel()
    await asyncio.wait([task])
    rows = await store.database.rows(sa.select(tables.audit.c.actor_id).order_by(tables.audit.c.seq))
    assert [row.actor_id for row in rows] == ["ann", "bob", "eve"]
    await store.close()
