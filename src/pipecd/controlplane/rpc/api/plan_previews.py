"""APIService: plan previews."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Program
from pipecd.controlplane.records import plan_previews
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.schema.api.plan_preview_pb2 import (
    GetPlanPreviewResultsRequest,
    GetPlanPreviewResultsResponse,
    RequestPlanPreviewRequest,
    RequestPlanPreviewResponse,
)


async def request_preview(
    services: Services, program: Program, request: RequestPlanPreviewRequest
) -> RequestPlanPreviewResponse:
    return RequestPlanPreviewResponse(commands=await plan_previews.request(services, program, request))


async def get_results(
    services: Services, program: Program, request: GetPlanPreviewResultsRequest
) -> GetPlanPreviewResultsResponse:
    results = await plan_previews.results(services, program, request.commands, request.command_handle_timeout)
    return GetPlanPreviewResultsResponse(results=results)


HANDLERS: Mapping[str, Handler] = {
    "RequestPlanPreview": request_preview,
    "GetPlanPreviewResults": get_results,
}
