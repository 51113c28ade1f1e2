"""The audit log: what it costs calls, and a project's million rows: verifying their chain, and reading pages.

The cost is measured with two servers on one database, one of them without the log, which take turns.
"""

import asyncio
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bench import rpc
from bench.figures import percentile_99, report_value
from pipecd.controlplane.store import Store, audit, audit_chain, audit_log
from pipecd.controlplane.store.audit_log import AuditFilter
from pipecd.controlplane.store.statements import Connection
from pipecd.model.actor import Actor, ActorKind
from tests.contracts import postgres

ROWS, _BATCH = 1_000_000, 10_000
#: Callers at a time, turns of each server, and seconds of each.
CALLERS, TURNS, DURATION = 64, 6, 3.0
#: Time in which the rows of a turn are added to the chain, so that the other server's turn is its own.
_PAUSE = 1.5
#: Maximum part of the rate that the log may cost, in percent.
MAX_COST = 15.0
_METHODS = ("GetDeployment", "ListApplications", "ReportStageStatusChanged")
_AGENT = Actor(
    kind=ActorKind.PIPED,
    id="5b1c6f0e-5a43-4c51-9d0d-6d3b7f3c1a11",
    name="home",
    action="/grpc.service.pipedservice.PipedService/ReportStageStatusChanged",
    project_id="shop",
    address="10.1.2.3",
)
_ANN = Actor(
    kind=ActorKind.PERSON, id="ann", name="ann", action="/WebService/SyncApplication", project_id="shop"
)


async def run(folder: Path) -> None:
    with rpc.databases(folder) as datastores:
        for name, datastore in datastores.items():
            await _measure_cost(name, folder, datastore)
    await _measure("SQLite", f"sqlite:///{folder / 'pipecd.db'}")
    if postgres.binary("initdb") is None:
        return
    with tempfile.TemporaryDirectory(prefix="pipecd-pg-") as cluster, postgres.cluster(Path(cluster)) as url:
        await _measure("PostgreSQL", url)


async def _measure_cost(name: str, folder: Path, datastore: Mapping[str, Any] | None) -> None:
    prepared = await rpc.prepare(folder, datastore)
    async with (
        rpc.serving(folder, prepared) as audited,
        rpc.serving(folder, prepared, rpc.WITHOUT_AUDIT) as unaudited,
    ):
        for method in _METHODS:
            make, first = audited.make(method), 0
            rates, slowest = defaultdict(list), defaultdict(list)
            cpu, database_cpu = defaultdict(list), defaultdict(list)
            for turn in range(TURNS + 1):
                for server in (audited, unaudited) if turn % 2 else (unaudited, audited):
                    before = server.cpu_seconds(), rpc.database_cpu_seconds(datastore)
                    results = await server.repeat(make, CALLERS, DURATION, first)
                    count = len(results.durations)
                    first += count
                    await asyncio.sleep(_PAUSE)
                    if turn:
                        rates[server].append(count / results.seconds)
                        cpu[server].append((server.cpu_seconds() - before[0]) / count * 1000)
                        of_database = rpc.database_cpu_seconds(datastore) - before[1]
                        database_cpu[server].append(of_database / count * 1000)
                        slowest[server].append(percentile_99(results.durations))
            for server, log in ((audited, "with the log"), (unaudited, "without the log")):
                what = f"{name}: {method} {log} ({CALLERS} at a time)"
                report_value(what, statistics.median(rates[server]), "/s")
                report_value("… 99th percentile", statistics.median(slowest[server]), "ms")
                report_value(
                    "… CPU of the control plane for each", statistics.median(cpu[server]), "ms", digits=3
                )
                if datastore is not None:
                    of_database = statistics.median(database_cpu[server])
                    report_value("… CPU of the database for each", of_database, "ms", digits=3)
            cost = 1 - statistics.median(rates[audited]) / statistics.median(rates[unaudited])
            report_value(f"{name}: {method}, cost of the log", cost * 100, "%", maximum=MAX_COST)


async def _measure(name: str, url: str) -> None:
    store = await Store.open(url)
    for start in range(0, ROWS, _BATCH):
        await store.database.write(partial(_insert, start))
    begun = time.perf_counter()
    await audit_chain.seal(store.database)
    report_value(f"{name}: {ROWS:,} rows added to the chain", time.perf_counter() - begun, "s")
    begun = time.perf_counter()
    result = await audit_chain.verify(store.database, "shop")
    while not result.completed:
        result = await audit_chain.verify(store.database, "shop", result.verified)
    assert result.broken is None
    rows = result.verified.position
    report_value(f"{name}: {rows:,} rows verified", time.perf_counter() - begun, "s", maximum=60.0)
    for what, filters in (
        ("newest page", AuditFilter()),
        ("page of people's changes", AuditFilter(actor_kinds=["person"])),
        ("history of one record", AuditFilter(record_id="d-77")),
        ("search without a match", AuditFilter(search="nowhere")),
    ):
        begun = time.perf_counter()
        await audit_log.page(store.database, "shop", filters, size=50, cursor="", oldest_first=False)
        report_value(f"{name}: {what}", (time.perf_counter() - begun) * 1000, "ms", maximum=200.0)
    await store.close()


def _insert(start: int, connection: Connection) -> None:
    rows = []
    for number in range(start, start + _BATCH):
        record = audit.Subject(kind="deployment", id=f"d-{number // 25}", project_id="shop")
        before = {"stages[0].status": "STAGE_RUNNING", "updated_at": number}
        after = {
            "stages[0].status": "STAGE_SUCCESS",
            "stages[0].status_reason": "applied",
            "updated_at": number,
        }
        by = _ANN if number % 100 == 0 else _AGENT
        rows.append(audit.describe(by, 1_700_000_000_000_000 + number, "update", record, before, after))
    audit_chain.append(connection, rows)
