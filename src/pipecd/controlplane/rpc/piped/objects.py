"""PipedService: opaque objects that the control plane stores for agents."""

import hashlib
from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.piped import ownership
from pipecd.controlplane.services import Services
from pipecd.controlplane.store.audit import Subject
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
    services: Services, agent: Agent, request: GetLatestAnalysisResultRequest
) -> GetLatestAnalysisResultResponse:
    await ownership.get_application(services, agent, request.application_id)
    result = await services.blobs.analysis_result(request.application_id)
    return GetLatestAnalysisResultResponse(analysis_result=result)


async def put_analysis(
    services: Services, agent: Agent, request: PutLatestAnalysisResultRequest
) -> PutLatestAnalysisResultResponse:
    await ownership.get_application(services, agent, request.application_id)
    content = request.analysis_result.SerializeToString(deterministic=True)
    await _record(services, agent, "analysis_result", request.application_id, content)
    await services.blobs.put_analysis_result(request.application_id, request.analysis_result)
    return PutLatestAnalysisResultResponse()


async def get_shared(
    services: Services, agent: Agent, request: GetApplicationSharedObjectRequest
) -> GetApplicationSharedObjectResponse:
    await ownership.get_application(services, agent, request.application_id)
    content = await services.blobs.shared_object(request.application_id, request.plugin_name, request.key)
    return GetApplicationSharedObjectResponse(object=content)


async def put_shared(
    services: Services, agent: Agent, request: PutApplicationSharedObjectRequest
) -> PutApplicationSharedObjectResponse:
    await ownership.get_application(services, agent, request.application_id)
    id = f"{request.application_id}/{request.plugin_name}/{request.key}"
    await _record(services, agent, "shared_object", id, request.object)
    await services.blobs.put_shared_object(
        request.application_id, request.plugin_name, request.key, request.object
    )
    return PutApplicationSharedObjectResponse()


async def _record(services: Services, agent: Agent, kind: str, id: str, content: bytes) -> None:
    """Record in the audit log that an object is replaced. Its content is the agent's own, often encrypted."""
    record = Subject(kind=kind, id=id, project_id=agent.project_id)
    description = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    await services.store.record_action("update", record, description, by=agent.actor)


HANDLERS: Mapping[str, Handler] = {
    "GetLatestAnalysisResult": get_analysis,
    "PutLatestAnalysisResult": put_analysis,
    "GetApplicationSharedObject": get_shared,
    "PutApplicationSharedObject": put_shared,
}
