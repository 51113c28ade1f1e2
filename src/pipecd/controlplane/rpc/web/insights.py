"""WebService: insights (delivery figures over time) and application counts, as in PipeCD's console."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC

from pipecd.controlplane.auth.caller import Person
from pipecd.controlplane.records.insights import included, period
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.lists import ApplicationFilter
from pipecd.errors import Unsupported
from pipecd.model.insight import Bucket, Figures, Filter
from pipecd.schema.model.insight_pb2 import (
    InsightApplicationCount,
    InsightDataPoint,
    InsightMetricsKind,
    InsightResolution,
    InsightResultType,
    InsightSampleStream,
)
from pipecd.schema.web.insights_pb2 import (
    GetInsightApplicationCountRequest,
    GetInsightApplicationCountResponse,
    GetInsightDataRequest,
    GetInsightDataResponse,
)
from pipecd.wire import kind_from


def _failure_rate(figures: Figures) -> float:
    """As PipeCD counts: of all that ended, those with the status FAILURE."""
    return figures.ended_as_failure / figures.deployments if figures.deployments else 0.0


#: The value of a point. The first two are PipeCD's, which has no others.
_VALUES: Mapping[int, Callable[[Figures], float]] = {
    InsightMetricsKind.DEPLOYMENT_FREQUENCY: lambda figures: figures.deployments,
    InsightMetricsKind.CHANGE_FAILURE_RATE: _failure_rate,
    InsightMetricsKind.LEAD_TIME: lambda figures: figures.lead.median or 0.0,
    InsightMetricsKind.MTTR: lambda figures: figures.restore.median or 0.0,
}
_BUCKETS = {InsightResolution.DAILY: Bucket.DAY, InsightResolution.MONTHLY: Bucket.MONTH}


async def get_data(
    services: Services, person: Person, request: GetInsightDataRequest
) -> GetInsightDataResponse:
    value = _VALUES.get(request.metrics_kind)
    if value is None:
        kind = InsightMetricsKind.Name(request.metrics_kind)
        raise Unsupported(f"{kind} has no values over time; use GetInsightApplicationCount")
    filters = Filter(
        application_id=request.application_id, labels=dict(request.labels), included=included(person)
    )
    boundaries = period(request.range_from, request.range_to, _BUCKETS[request.resolution], UTC)
    report = await services.insights.report(person.project_id, filters, boundaries)
    points = [InsightDataPoint(timestamp=point.start, value=value(point)) for point in report.points]
    return GetInsightDataResponse(
        updated_at=services.now(),
        type=InsightResultType.MATRIX,
        matrix=[InsightSampleStream(data_points=points)],
    )


async def count_applications(
    services: Services, person: Person, _: GetInsightApplicationCountRequest
) -> GetInsightApplicationCountResponse:
    filters = ApplicationFilter(included=included(person))
    applications = await lists.all_applications(services.store, person.project_id, filters)
    counts = Counter(
        (kind_from(application), "DISABLED" if application.disabled else "ENABLED")
        for application in applications
    )
    return GetInsightApplicationCountResponse(
        updated_at=services.now(),
        counts=[
            InsightApplicationCount(labels={"KIND": kind, "ACTIVE_STATUS": state}, count=count)
            for (kind, state), count in sorted(counts.items())
        ],
    )


HANDLERS: Mapping[str, Handler] = {
    "GetInsightData": get_data,
    "GetInsightApplicationCount": count_applications,
}
