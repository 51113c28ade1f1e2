"""WebService: insights (delivery metrics over time) and application counts."""

from collections import Counter
from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Person
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.lists import ApplicationFilter
from pipecd.errors import Unsupported
from pipecd.schema.model.insight_pb2 import InsightApplicationCount, InsightMetricsKind
from pipecd.schema.web.insights_pb2 import (
    GetInsightApplicationCountRequest,
    GetInsightApplicationCountResponse,
    GetInsightDataRequest,
    GetInsightDataResponse,
)
from pipecd.wire import kind_from


async def get_data(_: Services, __: Person, request: GetInsightDataRequest) -> GetInsightDataResponse:
    kind = InsightMetricsKind.Name(request.metrics_kind)
    raise Unsupported(f"this control plane does not collect {kind} yet")


async def count_applications(
    services: Services, person: Person, _: GetInsightApplicationCountRequest
) -> GetInsightApplicationCountResponse:
    applications = await lists.all_applications(services.store, person.project_id, ApplicationFilter())
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
