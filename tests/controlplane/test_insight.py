"""Deliveries become figures of days, weeks and months."""

import random
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipecd.controlplane.records.delivery_columns import Deliveries
from pipecd.controlplane.store import deliveries
from pipecd.model.delivery import History
from pipecd.model.insight import Bucket, Durations, Filter, Report, Row, boundaries
from pipecd.model.status import DeploymentStatus
from pipecd.schema.model.deployment_pb2 import DEPLOYMENT_CANCELLED, Deployment
from pipecd.schema.model.stage_pb2 import STAGE_SUCCESS, PipelineStage

DAY = 86_400
START = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp())  # a Monday
SHOP = ("shop", "ECS", "\nenv:prod\nteam:a\n")
CART = ("cart", "LAMBDA", "\nenv:dev\nteam:a\n")


def row(day: float, status: str = "SUCCESS", subject: tuple[str, str, str] = SHOP, **fields: Any) -> Row:
    failed = status == "FAILURE"
    return Row(
        *subject,
        completed_at=START + int(day * DAY),
        status=DeploymentStatus[status],
        failed=failed,
        failing_since=START if failed else 0,
        **fields,
    )


def report(*rows: Row, days: int = 3, **filters: object) -> Report:
    period = boundaries(START, START + (days - 1) * DAY, Bucket.DAY, UTC)
    return Deliveries().extended(rows).calculate(Filter(**filters), period)  # type: ignore[arg-type]


def test_each_day_has_its_figures_and_empty_days_are_zero() -> None:
    figures = report(
        row(0.1, lead=600), row(0.2, "FAILURE"), row(0.3, "CANCELLED"), row(2.5, lead=1200, restore=7200)
    )
    assert [
        (point.deployments, point.succeeded, point.changes, point.failures) for point in figures.points
    ] == [(3, 1, 2, 1), (0, 0, 0, 0), (1, 1, 1, 0)]
    assert figures.points[1].failure_rate is None
    assert figures.points[1].lead == Durations()
    assert figures.total.failure_rate == pytest.approx(1 / 3)
    assert figures.total.lead.median == pytest.approx(600, rel=0.01)
    assert figures.total.lead.p90 == pytest.approx(1200, rel=0.01)
    assert figures.total.restore.median == pytest.approx(7200, rel=0.01)


def test_the_period_before_has_the_same_length() -> None:
    figures = report(row(-4), row(-3), row(-0.01), row(0))
    assert (figures.previous.deployments, figures.total.deployments) == (2, 1)
    assert (figures.previous.start, figures.previous.end) == (START - 3 * DAY, START)


def test_a_success_that_was_taken_back_counts_as_failure_of_its_own_day() -> None:
    figures = report(row(0.5), row(1.2, undone_at=START + DAY // 2))
    assert [point.failures for point in figures.points] == [1, 0, 0]
    assert figures.total.changes == 2


@pytest.mark.parametrize("rollback", [{"name": "K8S_UNDO", "rollback": True}, {"name": "ROLLBACK"}])
def test_a_cancelled_deployment_that_was_rolled_back_is_a_failed_change(rollback: dict[str, Any]) -> None:
    """Agents of PipeCD without plugins name a rollback stage so, and do not mark it."""
    cancelled = Deployment(
        status=DEPLOYMENT_CANCELLED,
        stages=[
            PipelineStage(name="K8S_SYNC", status=STAGE_SUCCESS),
            PipelineStage(**rollback, status=STAGE_SUCCESS),
        ],
    )
    values, _ = deliveries.row_of(History(), cancelled, source_at=0, now=START)
    assert values["failed"] == 1


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 2),
        ({"application_id": "shop"}, 1),
        ({"application_id": "none"}, 0),
        ({"kinds": ["LAMBDA"]}, 1),
        ({"kinds": ["LAMBDA", "ECS"]}, 2),
        ({"labels": {"team": "a"}}, 2),
        ({"labels": {"team": "a", "env": "dev"}}, 1),
        ({"labels": {"team": "b"}}, 0),
        ({"included": []}, 0),
        ({"included": [{"env": "dev"}, {"env": "prod"}]}, 2),
        ({"included": [{"env": "dev"}], "application_id": "shop"}, 0),
    ],
)
def test_filters_select_deliveries(filters: dict[str, Any], count: int) -> None:
    figures = report(row(0, "FAILURE"), row(0, "FAILURE", CART), **filters)
    assert figures.total.deployments == figures.total.failures == len(figures.failing) == count


def test_an_application_fails_until_its_next_success() -> None:
    deliveries = Deliveries().extended([row(0, "FAILURE"), row(0.1, "FAILURE", CART)])
    deliveries = deliveries.extended([row(0.2, "SUCCESS", CART)])
    assert deliveries.calculate(Filter(), [START, START + DAY]).failing == [("shop", START)]


@pytest.mark.parametrize(
    ("bucket", "zone", "expected"),
    [
        # Clocks go forward on 29 March: the day has 23 hours.
        (Bucket.DAY, "Europe/Berlin", ["03-28T23:00", "03-29T22:00", "03-30T22:00", "03-31T22:00"]),
        (Bucket.DAY, "Asia/Kathmandu", ["03-28T18:15", "03-29T18:15", "03-30T18:15", "03-31T18:15"]),
        (Bucket.WEEK, "UTC", ["03-23T00:00", "03-30T00:00", "04-06T00:00"]),
        (Bucket.MONTH, "America/New_York", ["03-01T05:00", "04-01T04:00"]),
    ],
)
def test_buckets_begin_at_midnight_of_the_time_zone(bucket: Bucket, zone: str, expected: list[str]) -> None:
    start, end = (int(datetime(2026, 3, day, 12, tzinfo=UTC).timestamp()) for day in (29, 31))
    found = boundaries(start, end, bucket, ZoneInfo(zone))
    assert [f"{datetime.fromtimestamp(at, UTC):%m-%dT%H:%M}" for at in found] == expected


@pytest.mark.parametrize("seed", range(5))
def test_the_figures_are_those_of_counting_one_by_one(seed: int) -> None:
    """Also if later reports are about earlier times, as agents' clocks differ."""
    generator = random.Random(seed)
    rows = [
        Row(
            *generator.choice((SHOP, CART)),
            completed_at=START + generator.randrange(3 * DAY),
            status=generator.choice([status for status in DeploymentStatus if status.final]),
            lead=generator.choice((None, generator.randrange(100_000))),
        )
        for _ in range(200)
    ]
    deliveries = Deliveries()
    for at in range(0, 200, 7):
        deliveries = deliveries.extended(rows[at : at + 7])
    points = deliveries.calculate(Filter(kinds=["ECS"]), range(START, START + 4 * DAY, DAY)).points
    for point in points:
        expected = [
            row
            for row in rows
            if row.application_id == "shop" and point.start <= row.completed_at < point.end
        ]
        leads = sorted(row.lead for row in expected if row.lead is not None)
        assert point.deployments == len(expected)
        assert point.succeeded == sum(row.status is DeploymentStatus.SUCCESS for row in expected)
        assert point.lead.count == len(leads)
        assert point.lead.median == pytest.approx(leads[(len(leads) + 1) // 2 - 1], rel=0.011, abs=1)
