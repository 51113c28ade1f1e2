"""When the event loops of agents ran last. Thousands of agents report it every few seconds: written together.

A heartbeat counts only if the process that sends it has the lease of its piped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pipecd.clock import Clock
from pipecd.controlplane.store.batches import Batches
from pipecd.controlplane.store.engine import Database
from pipecd.controlplane.store.kinds import HEARTBEAT
from pipecd.controlplane.store.leases import piped_lease_name
from pipecd.controlplane.store.statements import Connection
from pipecd.controlplane.store.tables import leases, metadata_rows

_COLUMNS = ("kind", "id", "project_id", "data", "touched")
#: Heartbeats that are written by one statement: bounds how long it takes.
_MAX_HEARTBEATS = 500


def _written(id: Any, project_id: Any) -> Sequence[Any]:
    """The columns of the metadata, in the order of `_COLUMNS`."""
    touched = sa.bindparam("touched_at", type_=sa.BigInteger)
    return sa.literal(HEARTBEAT.name), id, project_id, sa.literal(b"", sa.LargeBinary), touched


def _write_in_one_statement() -> "sa.Insert":
    """For PostgreSQL: its parameters are lists."""
    lists = {
        name: sa.bindparam(f"of_{name}", type_=postgresql.ARRAY(sa.Text))
        for name in ("id", "project_id", "lease", "instance")
    }
    rows = sa.func.unnest(*lists.values()).table_valued(*map(sa.column, lists), name="rows").render_derived()
    held = (
        (leases.c.name == rows.c.lease)
        & (leases.c.holder == rows.c.instance)
        & (leases.c.expires_at > sa.bindparam("at"))
    )
    beats = sa.select(*_written(rows.c.id, rows.c.project_id)).select_from(rows.join(leases, held))
    insert = postgresql.insert(metadata_rows).from_select(_COLUMNS, beats)
    return insert.on_conflict_do_update(
        index_elements=["kind", "id"], set_={"touched": insert.excluded.touched}
    )


def _write_one() -> "sa.Insert":
    """For SQLite, where a statement costs no round trip."""
    held = (
        (leases.c.name == sa.bindparam("lease"))
        & (leases.c.holder == sa.bindparam("instance"))
        & (leases.c.expires_at > sa.bindparam("at"))
    )
    id, project_id = (sa.bindparam(name, type_=sa.Text) for name in ("of_id", "of_project_id"))
    beat = sa.select(*_written(id, project_id)).select_from(leases).where(held)
    insert = sqlite.insert(metadata_rows).from_select(_COLUMNS, beat)
    return insert.on_conflict_do_update(
        index_elements=["kind", "id"], set_={"touched": insert.excluded.touched}
    )


_WRITE_IN_ONE_STATEMENT = _write_in_one_statement()
_WRITE_ONE = _write_one()


@dataclass(frozen=True, kw_only=True)
class _Heartbeat:
    piped_id: str
    project_id: str
    instance: str


class Heartbeats:
    def __init__(self, database: Database, clock: Clock, window: float) -> None:
        self._database, self._clock = database, clock
        self._batches = Batches(self._write, clock, window=window, max_size=_MAX_HEARTBEATS)

    async def record(self, piped_id: str, project_id: str, instance: str) -> None:
        """Record that the agent's event loop runs, if its process `instance` has the lease of the piped."""
        await self._batches.add(_Heartbeat(piped_id=piped_id, project_id=project_id, instance=instance))

    async def _write(self, heartbeats: Sequence[_Heartbeat]) -> Sequence[None]:
        # Each once: a statement cannot write a row twice. Of the processes of a piped, one has the lease.
        different = list(dict.fromkeys(heartbeats))
        at = self._clock.now()
        await self._database.write(lambda connection: _write_all(connection, different, at))
        return [None] * len(heartbeats)


def _write_all(connection: Connection, heartbeats: Sequence[_Heartbeat], at: float) -> None:
    times = {"at": at, "touched_at": int(at * 1_000_000)}
    if connection.sqlite:
        for heartbeat in heartbeats:
            of_agent = {
                "of_id": heartbeat.piped_id,
                "of_project_id": heartbeat.project_id,
                "lease": piped_lease_name(heartbeat.piped_id),
                "instance": heartbeat.instance,
            }
            connection.execute(_WRITE_ONE, {**of_agent, **times})
        return
    lists = {
        "of_id": [heartbeat.piped_id for heartbeat in heartbeats],
        "of_project_id": [heartbeat.project_id for heartbeat in heartbeats],
        "of_lease": [piped_lease_name(heartbeat.piped_id) for heartbeat in heartbeats],
        "of_instance": [heartbeat.instance for heartbeat in heartbeats],
    }
    connection.execute(_WRITE_IN_ONE_STATEMENT, {**lists, **times})
