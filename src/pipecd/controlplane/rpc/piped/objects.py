"""PipedService: bytes that the control plane keeps for agents and does not look into."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.piped import owned
from pipecd.controlplane.services import Plane
from pipecd.schema.agent.objects_pb2 import (
    GetApplicationSharedObjectRequest,
    GetApplicationSharedObjectResponse,
    GetLatestAnalysisResultRequest,
    GetLatestAnalysisResultResponse,
    PutApplicationSharedObjectRequest,
    PutApplicationSharedObjectResponse,
    PutLatestAnalysisResultRequest,
    PutLatestAnalysisResultResponse,
)


async def get_analysis(
    plane: Plane, agent: Agent, request: GetLatestAnalysisResultRequest
) -> GetLatestAnalysisResultResponse:
    await owned.application(plane, agent, request.application_id)
    found = await plane.blobs.analysis_result(request.application_id)
    return GetLatestAnalysisResultResponse(analysis_result=found)


async def put_analysis(
    plane: Plane, agent: Agent, request: PutLatestAnalysisResultRequest
) -> PutLatestAnalysisResultResponse:
    await owned.application(plane, agent, request.application_id)
    await plane.blobs.put_analysis_result(request.application_id, request.analysis_result)
    return PutLatestAnalysisResultResponse()


async def get_shared(
    plane: Plane, agent: Agent, request: GetApplicationSharedObjectRequest
) -> GetApplicationSharedObjectResponse:
    await owned.application(plane, agent, request.application_id)
    found = await plane.blobs.shared_object(request.application_id, request.plugin_name, request.key)
    return GetApplicationSharedObjectResponse(object=found)


async def put_shared(
    plane: Plane, agent: Agent, request: PutApplicationSharedObjectRequest
) -> PutApplicationSharedObjectResponse:
    await owned.application(plane, agent, request.application_id)
    await plane.blobs.put_shared_object(
        request.application_id, request.plugin_name, request.key, request.object
    )
    return PutApplicationSharedObjectResponse()


HANDLERS: Mapping[str, Handler] = {
    "GetLatestAnalysisResult": get_analysis,
    "PutLatestAnalysisResult": put_analysis,
    "GetApplicationSharedObject": get_shared,
    "PutApplicationSharedObject": put_shared,
}
