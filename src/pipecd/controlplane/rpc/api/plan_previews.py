"""APIService: plan previews."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Program
from pipecd.controlplane.records import plan_previews
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Plane
from pipecd.schema.api.plan_preview_pb2 import (
    GetPlanPreviewResultsRequest,
    GetPlanPreviewResultsResponse,
    RequestPlanPreviewRequest,
    RequestPlanPreviewResponse,
)


async def request_preview(
    plane: Plane, program: Program, request: RequestPlanPreviewRequest
) -> RequestPlanPreviewResponse:
    return RequestPlanPreviewResponse(commands=await plan_previews.request(plane, program, request))


async def get_results(
    plane: Plane, program: Program, request: GetPlanPreviewResultsRequest
) -> GetPlanPreviewResultsResponse:
    found = await plan_previews.results(plane, program, request.commands, request.command_handle_timeout)
    return GetPlanPreviewResultsResponse(results=found)


HANDLERS: Mapping[str, Handler] = {
    "RequestPlanPreview": request_preview,
    "GetPlanPreviewResults": get_results,
}
