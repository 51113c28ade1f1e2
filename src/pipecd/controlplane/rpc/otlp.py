"""OTLP of agents: `TraceService/Export` with the credential of an agent.

Agents of PipeCD and ours send spans to the address of the control plane. They are forwarded to the configured
collector; without one they are accepted and dropped. The caller never waits for the collector.
"""

import asyncio
from collections.abc import Mapping

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.rpc.method import Method, PipedKey
from pipecd.controlplane.services import Services
from pipecd.errors import Refused
from pipecd.trace_export.collector import EXPORT_PATH
from pipecd.trace_export.queue import REQUESTS

#: Attributes of the resource that tell whose spans they are; set from the credential.
PROJECT, PIPED = "project-id", "piped-id"


async def export(services: Services, agent: Agent, request: Empty) -> Empty:
    """`request` has the fields of `ExportTraceServiceRequest` as unknown ones; so has an empty response."""
    if services.traces is None:
        REQUESTS.labels("dropped").inc()
    else:
        data = request.SerializeToString()
        services.traces.add_request(await asyncio.to_thread(_with_owner, data, agent))
    return Empty()


def _with_owner(data: bytes, agent: Agent) -> bytes:
    """The request, whose resources name the agent, whatever they said. Raises Refused."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    owner = {PROJECT: agent.project_id, PIPED: agent.piped_id}
    try:
        request = ExportTraceServiceRequest.FromString(data)
    except DecodeError:
        raise Refused("the request is not a valid ExportTraceServiceRequest") from None
    for spans in request.resource_spans:
        kept = [attribute for attribute in spans.resource.attributes if attribute.key not in owner]
        del spans.resource.attributes[:]
        spans.resource.attributes.extend(kept)
        for key, value in owner.items():
            spans.resource.attributes.add(key=key).value.string_value = value
    stamped: bytes = request.SerializeToString()
    return stamped


#: By path, as in `table.methods`. Served by gRPC only.
METHODS: Mapping[str, Method] = {
    EXPORT_PATH: Method(
        service="opentelemetry.proto.collector.trace.v1.TraceService",
        name="Export",
        request=Empty,
        response=Empty,
        needs=PipedKey(bearer=True),
        handler=export,
        streams=False,
    )
}
