"""WebService: figures over time, and counts of what there is."""

from collections import Counter
from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Person
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Plane
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.lists import ApplicationFilter
from pipecd.errors import Unsupported
from pipecd.schema.model.insight_pb2 import InsightApplicationCount, InsightMetricsKind
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.schema.web.insights_pb2 import (
    GetInsightApplicationCountRequest,
    GetInsightApplicationCountResponse,
    GetInsightDataRequest,
    GetInsightDataResponse,
)


async def get_data(_: Plane, __: Person, request: GetInsightDataRequest) -> GetInsightDataResponse:
    kind = InsightMetricsKind.Name(request.metrics_kind)
    raise Unsupported(f"this control plane does not collect {kind} yet")


async def count_applications(
    plane: Plane, person: Person, _: GetInsightApplicationCountRequest
) -> GetInsightApplicationCountResponse:
    found = await lists.all_applications(plane.store, person.project_id, ApplicationFilter())
    counts = Counter(
        (ApplicationKind.Name(one.kind), "disabled" if one.disabled else "enabled") for one in found
    )
    return GetInsightApplicationCountResponse(
        updated_at=plane.now(),
        counts=[
            InsightApplicationCount(labels={"KIND": kind, "ACTIVE_STATUS": state}, count=count)
            for (kind, state), count in sorted(counts.items())
        ],
    )


HANDLERS: Mapping[str, Handler] = {
    "GetInsightData": get_data,
    "GetInsightApplicationCount": count_applications,
}
