"""OpenTelemetry collectors on the loopback interface, by HTTP and by gRPC, with the real messages of OTLP."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import grpc
from grpc import aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from pipecd import tracing
from pipecd.clock import SYSTEM_CLOCK
from pipecd.trace_export import exporting
from pipecd.trace_export.collector import EXPORT_PATH
from pipecd.trace_export.queue import ExportQueue
from tests.piped.receiver_server import ReceiverServer
from tests.virtual_clock import VirtualClock


@dataclass(frozen=True)
class Span:
    """As received. `trace`, `id` and `parent` are hexadecimal; `parent` is empty for the first of a trace."""

    name: str
    trace: str
    id: str
    parent: str
    seconds: float
    attributes: Mapping[str, str]
    resource: Mapping[str, str]
    failure: str
    wire: WireSpan


def read_spans(requests: Iterable[bytes]) -> list[Span]:
    return [
        _span(resource, span)
        for request in requests
        for resource in ExportTraceServiceRequest.FromString(request).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _span(resource: ResourceSpans, span: WireSpan) -> Span:
    return Span(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        attributes={
            item.key: item.value.string_value or str(item.value.int_value) for item in span.attributes
        },
        resource={item.key: item.value.string_value for item in resource.resource.attributes},
        failure=span.status.message if span.status.code == span.status.STATUS_CODE_ERROR else "",
        wire=span,
    )


@asynccontextmanager
async def recorded() -> AsyncIterator[list[Span]]:
    """The spans of the block, once it has ended; the block is the span `test`."""
    spans: list[Span] = []
    requests: list[bytes] = []

    async def send(data: bytes) -> None:
        requests.append(data)

    async with exporting("test", {}, ExportQueue(SYSTEM_CLOCK), send, VirtualClock()):
        with tracing.span("test"):
            yield spans
    spans += read_spans(requests)


@contextmanager
def http_collector() -> Iterator[ReceiverServer]:
    with ReceiverServer(answer=lambda _: (200, {}, "")) as server:
        yield server


@dataclass
class GrpcCollector:
    port: int
    requests: list[bytes] = field(default_factory=list)
    metadata: list[Mapping[str, str]] = field(default_factory=list)
    #: Answered once, before the next success.
    refusals: list[grpc.StatusCode] = field(default_factory=list)


@asynccontextmanager
async def grpc_collector() -> AsyncIterator[GrpcCollector]:
    server = aio.server()
    collector = GrpcCollector(port=server.add_insecure_port("127.0.0.1:0"))

    async def export(data: bytes, context: aio.ServicerContext[bytes, bytes]) -> bytes:
        if collector.refusals:
            await context.abort(collector.refusals.pop(0), "not now")
        collector.requests.append(data)
        collector.metadata.append({key: str(value) for key, value in context.invocation_metadata() or ()})
        return b""

    class Handlers(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
            return grpc.unary_unary_rpc_method_handler(export) if details.method == EXPORT_PATH else None

    server.add_generic_rpc_handlers((Handlers(),))
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(None)
