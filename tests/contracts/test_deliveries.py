"""Each deployment that ends adds a delivery in the same transaction; a migration adds those of the past."""

from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Any

import pytest
import sqlalchemy as sa

from pipecd.controlplane.records.insights import Insights
from pipecd.controlplane.store import Store, deliveries, tables
from pipecd.controlplane.store.migrate import migrate_database, run_in_transaction
from pipecd.controlplane.store.migrations.versions.v0007_deliveries import BATCH_SIZE
from pipecd.errors import Conflict
from pipecd.model.insight import Bucket, Filter, boundaries
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.kind_pb2 import ECS
from pipecd.schema.model.stage_pb2 import PipelineStage, StageStatus
from pipecd.schema.model.trace_pb2 import DeploymentTrace
from tests.actors import TESTER

START = 1_760_000_000
SUCCESS, FAILURE = DeploymentStatus.DEPLOYMENT_SUCCESS, DeploymentStatus.DEPLOYMENT_FAILURE
STAGE = PipelineStage(id="s", name="ECS_SYNC", status=StageStatus.STAGE_SUCCESS)
#: Id, application, status, and when it ended. The commit is 100 s older, the source commit 1000 s.
ENDED = (
    ("d1", "a", SUCCESS, START),
    ("d2", "a", FAILURE, START + 1000),
    ("d3", "b", SUCCESS, START + 1500),
    ("d4", "a", SUCCESS, START + 3000),
)
TRACE = DeploymentTrace(id="t", project_id="shop", commit_hash="c", commit_timestamp=START + 2000)
MEASURED = {
    "d1": (None, None, 0),
    "d2": (None, None, 1),
    "d3": (None, None, 0),
    # From the failed deployment's commit.
    "d4": (2100, 2000, 0),
}


def deployment(id: str, application_id: str, status: Any, at: int) -> Deployment:
    record = Deployment(
        id=id,
        project_id="shop",
        application_id=application_id,
        kind=ECS,
        labels={"env": "prod"},
        status=status,
        stages=[STAGE],
        completed_at=at,
        deployment_trace_commit_hash="c" if id == "d4" else "",
    )
    record.trigger.commit.created_at = at - 100
    return record


async def stored(store: Store) -> Sequence[Any]:
    return await store.database.rows(sa.select(tables.deliveries).order_by(tables.deliveries.c.seq))


async def test_the_end_of_a_deployment_is_recorded_once(store: Store) -> None:
    await store.create(TRACE, by=TESTER)
    for id, application_id, status, at in ENDED:
        pending = deployment(id, application_id, DeploymentStatus.DEPLOYMENT_PENDING, 0)
        await store.create(pending, by=TESTER)
        final = deployment(id, application_id, status, at)
        for _ in range(2):
            await store.update(Deployment, id, copying(final), by=TESTER)
    rows = await stored(store)
    assert {row.deployment_id: (row.lead, row.restore, row.failed) for row in rows} == MEASURED
    assert (rows[0].kind_name, rows[0].labels) == ("ECS", "\nenv:prod\n")


async def test_an_end_that_is_not_written_leaves_no_delivery(store: Store) -> None:
    active = deployment("d1", "a", DeploymentStatus.DEPLOYMENT_RUNNING, 0)
    waiting = deployment("d2", "a", DeploymentStatus.DEPLOYMENT_PENDING, 0)
    await store.create(active, waiting, by=TESTER)

    def end(record: Deployment) -> None:
        record.status = SUCCESS

    second = deployment("d3", "a", DeploymentStatus.DEPLOYMENT_RUNNING, 0)
    with pytest.raises(Conflict):
        await store.update(Deployment, "d2", end, by=TESTER, creating=[second])
    assert await stored(store) == []


async def test_a_time_in_the_future_is_the_time_of_the_report(store: Store) -> None:
    await store.create(deployment("d1", "a", SUCCESS, 2**62), by=TESTER)
    (row,) = await stored(store)
    assert row.completed_at < 2**33


def copying(final: Deployment) -> Callable[[Deployment], None]:
    return lambda record: record.CopyFrom(final)


async def test_the_migration_adds_the_deployments_of_the_past(empty_url: str) -> None:
    await migrate_database(empty_url, "0006")
    # A batch ends after the first deployment of the application a.
    records = [deployment(f"{n:04}", "0", SUCCESS, START) for n in range(BATCH_SIZE - 1)]
    records += [deployment(*each) for each in ENDED]
    records.append(deployment("d5", "a", DeploymentStatus.DEPLOYMENT_RUNNING, 0))

    def insert(connection: sa.Connection) -> None:
        added: tuple[Deployment | DeploymentTrace, ...] = (*records, TRACE)
        for number, record in enumerate(added):
            row: dict[str, Any] = {
                "id": record.id,
                "project_id": "shop",
                "data": record.SerializeToString(),
                "version": 1,
                "touched": (START + 10_000) * 1_000_000 + number,
            }
            if isinstance(record, Deployment):
                row |= {"application_id": record.application_id, "status": record.status}
            else:
                row |= {"commit_hash": record.commit_hash}
            table = sa.table(
                "deployments" if isinstance(record, Deployment) else "traces", *map(sa.column, row)
            )
            connection.execute(table.insert().values(row))

    await run_in_transaction(sa.make_url(empty_url), insert)
    store = await Store.open(empty_url)
    try:
        rows = [row for row in await stored(store) if row.application_id != "0"]
        assert {row.deployment_id: (row.lead, row.restore, row.failed) for row in rows} == MEASURED
        # The next one of the application continues its history.
        await store.create(deployment("d6", "a", SUCCESS, START + 5000), by=TESTER)
        assert (await stored(store))[-1].lead == 100
    finally:
        await store.close()


async def test_figures_include_what_ended_since_they_were_last_read(store: Store) -> None:
    insights = Insights(store)
    period = boundaries(START, START + 86_400, Bucket.DAY, UTC)
    for number, (id, application_id, status, at) in enumerate(ENDED, 1):
        await store.create(deployment(id, application_id, status, at), by=TESTER)
        for project_id, count in (("shop", number), ("other", 0)):
            report = await insights.report(project_id, Filter(), period)
            assert (report.total.deployments, await insights.count(project_id)) == (count, count)


async def test_imported_deployments_are_added_in_the_order_in_which_they_ended(
    store: Store,
) -> None:
    records = [deployment(*each) for each in reversed(ENDED)]
    records.append(deployment("d5", "a", DeploymentStatus.DEPLOYMENT_RUNNING, 0))
    await store.create(*records, TRACE, by=TESTER, touched=lambda record: getattr(record, "completed_at", 0))
    assert await stored(store) == []
    assert await deliveries.fill(store.database, batch_size=2) == len(ENDED)
    rows = await stored(store)
    assert {row.deployment_id: (row.lead, row.restore, row.failed) for row in rows} == MEASURED
    assert await deliveries.fill(store.database) == 0
    await store.create(deployment("d6", "a", SUCCESS, START + 5000), by=TESTER)
    assert (await stored(store))[-1].lead == 100, "the next one continues the history"


async def test_a_report_is_calculated_once_until_another_deployment_ends(store: Store) -> None:
    insights = Insights(store)
    period = boundaries(START, START + 86_400, Bucket.DAY, UTC)
    await store.create(deployment("d1", "a", SUCCESS, START), by=TESTER)
    first = await insights.report("shop", Filter(kinds=["ECS"]), period)
    assert await insights.report("shop", Filter(kinds=["ECS"]), period) is first
    assert (await insights.report("shop", Filter(kinds=["LAMBDA"]), period)).total.deployments == 0
    await store.create(deployment("d2", "b", SUCCESS, START), by=TESTER)
    assert (await insights.report("shop", Filter(kinds=["ECS"]), period)).total.deployments == 2
