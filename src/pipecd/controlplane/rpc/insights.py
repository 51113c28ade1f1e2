"""Delivery figures for the console and for programs: `GetInsights` of ConsoleService and ProgramService."""

from pipecd.controlplane.auth.caller import Person, Program
from pipecd.controlplane.records import ownership
from pipecd.controlplane.records.insights import find_zone, included, period
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.model import insight
from pipecd.model.insight import Bucket, Filter
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.pipecd.v1.insights_pb2 import (
    FailingApplication,
    GetInsightsRequest,
    GetInsightsResponse,
    InsightDurations,
    InsightFigures,
)

#: Failing applications that are listed.
MAX_FAILING = 100


async def get_insights(
    services: Services, caller: Person | Program, request: GetInsightsRequest
) -> GetInsightsResponse:
    filters = Filter(
        application_id=request.application_id,
        kinds=request.kinds,
        labels=dict(request.labels),
        included=included(caller),
    )
    zone = find_zone(request.time_zone)
    boundaries = period(request.range_from, request.range_to, Bucket(request.bucket), zone)
    report = await services.insights.report(caller.project_id, filters, boundaries)
    since = dict(report.failing)
    applications = await lists.by_ids(services.store, Application, since)
    failing = [
        FailingApplication(
            application_id=application.id, application_name=application.name, since=since[application.id]
        )
        for application in sorted(applications, key=lambda application: since[application.id])
        if not application.deleted and ownership.includes(caller, application)
    ]
    return GetInsightsResponse(
        points=map(_figures, report.points),
        total=_figures(report.total),
        previous=_figures(report.previous),
        failing=failing[:MAX_FAILING],
        failing_count=len(failing),
        recorded=await services.insights.count(caller.project_id),
        updated_at=services.now(),
    )


def _figures(figures: insight.Figures) -> InsightFigures:
    return InsightFigures(
        start=figures.start,
        end=figures.end,
        deployments=figures.deployments,
        succeeded=figures.succeeded,
        changes=figures.changes,
        failures=figures.failures,
        lead_time=_durations(figures.lead),
        time_to_restore=_durations(figures.restore),
    )


def _durations(durations: insight.Durations) -> InsightDurations:
    return InsightDurations(count=durations.count, median=durations.median or 0, p90=durations.p90 or 0)
