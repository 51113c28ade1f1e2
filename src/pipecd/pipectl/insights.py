"""`pipectl insights`: deployment frequency, change failure rate, lead time and time to restore."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from pipecd.client import Client
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.name_completion import complete_applications
from pipecd.pipectl.names import find_application
from pipecd.pipectl.output import Output, View, echo, list_view, print_json, print_view
from pipecd.pipectl.unsupported import unsupported_means
from pipecd.pipectl.values import kinds_option, parse_kinds, parse_pairs
from pipecd.schema.pipecd.v1.insights_pb2 import (
    GetInsightsRequest,
    GetInsightsResponse,
    InsightBucket,
    InsightDurations,
    InsightFigures,
)

#: Columns of the CSV, as the console writes them.
CSV_COLUMNS = (
    "start",
    "deployments",
    "succeeded",
    "changes",
    "failures",
    "change_failure_rate",
    "lead_times",
    "lead_time_median_seconds",
    "lead_time_p90_seconds",
    "restores",
    "time_to_restore_median_seconds",
    "time_to_restore_p90_seconds",
)


@click.command()
@click.option("--days", type=click.IntRange(1, 730), default=30, show_default=True, help="Days until today.")
@click.option(
    "--bucket",
    type=click.Choice(["day", "week", "month"]),
    default="week",
    show_default=True,
    help="Period of a row.",
)
@click.option(
    "--time-zone", default="", metavar="NAME", help="IANA time zone in which a day begins; default UTC."
)
@click.option(
    "--app-id",
    "application_id",
    default="",
    shell_complete=complete_applications,
    help="Only this application: its id or name.",
)
@kinds_option
@click.option("--label", "labels", multiple=True, metavar="KEY:VALUE", help="Only with all these labels.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="Format.",
)
@with_client
async def insights(
    client: Client,
    *,
    days: int,
    bucket: str,
    time_zone: str,
    application_id: str,
    kinds: Sequence[str],
    labels: Sequence[str],
    output: str,
) -> None:
    """Show the delivery figures of the project: a row for each day, week or month."""
    zone, now = _zone(time_zone), int(client.clock.now())
    request = GetInsightsRequest(
        range_from=now - (days - 1) * 86_400,
        range_to=now,
        bucket=InsightBucket.Value(bucket.upper()),
        time_zone=time_zone,
        application_id=await find_application(client, application_id),
        kinds=parse_kinds(kinds, "--app-kind"),
        labels=parse_pairs(labels, ":", "--label"),
    )
    with unsupported_means("this control plane has no insights; it runs an older version"):
        response = await client.call(client.program.GetInsights, request)
    if output == "json":
        print_json(response, Output(format="json"))
    elif output == "csv":
        echo(format_csv(response.points), newline=False)
    else:
        print_view(_view(response, bucket, zone))


def format_csv(points: Sequence[InsightFigures]) -> str:
    """A line for each point. Times are UTC; a duration without measurements is empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for point in points:
        rate = f"{point.failures / point.changes:.4f}" if point.changes else ""
        writer.writerow(
            [
                f"{datetime.fromtimestamp(point.start, UTC):%Y-%m-%dT%H:%M:%SZ}",
                point.deployments,
                point.succeeded,
                point.changes,
                point.failures,
                rate,
                *_numbers(point.lead_time),
                *_numbers(point.time_to_restore),
            ]
        )
    return file.getvalue()


def _numbers(durations: InsightDurations) -> list[Any]:
    if not durations.count:
        return [0, "", ""]
    return [durations.count, round(durations.median), round(durations.p90)]


def _view(response: GetInsightsResponse, bucket: str, zone: tzinfo) -> View:
    columns = [
        bucket.upper(),
        "DEPLOYMENTS",
        "SUCCEEDED",
        "FAILED CHANGES",
        "FAILURE RATE",
        "LEAD TIME",
        "TIME TO RESTORE",
    ]
    rows = [_row(point, zone) for point in response.points]
    rows.append(["total", *_row(response.total, zone)[1:]])
    if not response.recorded:
        return View(notes=["No deployment of this project has ended yet."])
    view = list_view(columns, rows, empty="")
    notes = [
        f"{failing.application_name} fails since {_day(failing.since, zone)}."
        for failing in response.failing[:10]
    ]
    if response.failing_count > len(notes):
        notes.append(f"{response.failing_count - len(notes)} more applications fail.")
    return View(parts=view.parts, notes=notes)


def _row(point: InsightFigures, zone: tzinfo) -> list[str]:
    rate = f"{point.failures / point.changes:.0%}" if point.changes else "–"
    return [
        _day(point.start, zone),
        str(point.deployments),
        str(point.succeeded),
        str(point.failures),
        rate,
        _duration(point.lead_time),
        _duration(point.time_to_restore),
    ]


def _day(seconds: int, zone: tzinfo) -> str:
    return f"{datetime.fromtimestamp(seconds, zone):%Y-%m-%d}"


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise click.UsageError(f"--time-zone: {name!r} is not the name of a time zone") from None


_UNITS: Sequence[tuple[timedelta, str]] = (
    (timedelta(days=1), "d"),
    (timedelta(hours=1), "h"),
    (timedelta(minutes=1), "m"),
)


def _duration(durations: InsightDurations) -> str:
    """The median, such as `3.5 h`."""
    if not durations.count:
        return "–"
    for unit, name in _UNITS:
        if durations.median >= unit.total_seconds():
            return f"{durations.median / unit.total_seconds():.1f} {name}"
    return f"{durations.median:.0f} s"
