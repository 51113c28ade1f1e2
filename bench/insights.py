"""Figures of a million deliveries in two years, with every filter and bucket, on SQLite and PostgreSQL."""

import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench.figures import report, report_value
from pipecd.controlplane.records.insights import Insights
from pipecd.controlplane.store import Store, tables
from pipecd.controlplane.store.kinds import format_labels
from pipecd.controlplane.store.migrate import run_in_transaction
from pipecd.model.insight import Bucket, Filter, boundaries
from pipecd.model.status import DeploymentStatus
from tests.contracts import postgres
from tests.controlplane.server_fixture import PROJECT
from tests.loop_latency import loop_latency

DELIVERIES, APPLICATIONS, DAYS, CALLS, BATCH = 1_000_000, 10_000, 730, 5, 20_000
NOW = 1_790_000_000
KINDS = ("ECS", "LAMBDA", "KUBERNETES", "TERRAFORM")
FILTERS = (
    Filter(),
    Filter(kinds=["ECS"]),
    Filter(labels={"env": "e1"}),
    Filter(labels={"env": "e1", "team": "t1"}),
    Filter(application_id="a7"),
    Filter(included=[{"env": "e1"}, {"env": "e2"}]),
)


async def run(folder: Path) -> None:
    await _measure("SQLite", f"sqlite:///{folder / 'pipecd.db'}")
    if postgres.binary("initdb") is None:
        return
    with tempfile.TemporaryDirectory(prefix="pipecd-pg-") as cluster, postgres.cluster(Path(cluster)) as url:
        await _measure("PostgreSQL", url)


async def _measure(name: str, url: str) -> None:
    store = await Store.open(url)
    await run_in_transaction(sa.make_url(url), _insert)
    insights = Insights(store)
    whole = boundaries(NOW - (DAYS - 1) * 86_400, NOW, Bucket.DAY, UTC)
    started, cpu = time.monotonic(), time.process_time()
    async with loop_latency(with_collector=True) as loading:
        await insights.report(PROJECT, Filter(), whole)
    report_value(f"{name}: first call, which reads {DELIVERIES} rows", time.monotonic() - started, "s")
    report_value(f"{name}: CPU time of it", time.process_time() - cpu, "s")
    block = f"{name}: longest block of the event loop meanwhile"
    report_value(block, loading.longest * 1000, "ms", maximum=50)
    times, computing = [], []
    async with loop_latency(with_collector=True) as calling:
        for filters in FILTERS:
            for bucket in Bucket:
                for call in range(CALLS):
                    # Each a day earlier: a report of the same period is kept.
                    end = NOW - call * 86_400
                    period = boundaries(end - (DAYS - 1) * 86_400, end, bucket, UTC)
                    started, cpu = time.monotonic(), time.process_time()
                    await insights.report(PROJECT, filters, period)
                    times.append((time.monotonic() - started) * 1000)
                    computing.append((time.process_time() - cpu) * 1000)
    report(f"{name}: two years, {len(FILTERS)} filters, all buckets", times, "ms", target=200.0)
    report(f"{name}: CPU time of these calls", computing, "ms")
    report_value(block, calling.longest * 1000, "ms", maximum=50)
    again = []
    for _ in range(20):
        started = time.monotonic()
        await insights.report(PROJECT, filters, period)
        again.append((time.monotonic() - started) * 1000)
    report(f"{name}: the same report again", again, "ms")
    await store.close()


def _insert(connection: sa.Connection) -> None:
    for batch in _rows():
        connection.execute(sa.insert(tables.deliveries), batch)


def _rows() -> Iterator[Sequence[dict[str, Any]]]:
    generator = random.Random(1)
    for start in range(0, DELIVERIES, BATCH):
        yield [_row(generator, number) for number in range(start, start + BATCH)]


def _row(generator: random.Random, number: int) -> dict[str, Any]:
    application = generator.randrange(APPLICATIONS)
    labels = {"env": f"e{application % 5}", "team": f"t{application % 40}", "app": f"a{application}"}
    succeeded = generator.random() < 0.9
    return {
        "deployment_id": f"d{number}",
        "project_id": PROJECT,
        "application_id": f"a{application}",
        "kind_name": KINDS[application % len(KINDS)],
        "labels": format_labels(labels),
        "status": DeploymentStatus.SUCCESS if succeeded else DeploymentStatus.FAILURE,
        "failed": int(not succeeded),
        "completed_at": NOW - DAYS * 86_400 + number * DAYS * 86_400 // DELIVERIES,
        "lead": int(generator.lognormvariate(8, 1.5)) if succeeded else None,
        "restore": generator.randrange(100_000) if succeeded and generator.random() < 0.1 else None,
        "undone_at": None,
        "commit_at": 0,
        "succeeded_at": 0,
        "waiting_since": 0,
        "failing_since": 0,
    }
