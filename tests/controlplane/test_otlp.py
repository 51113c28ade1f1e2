"""Spans that agents send to the control plane, as PipeCD's do: by gRPC with a Bearer token."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc import aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from pipecd.controlplane.rpc.validation import MAX_REQUEST_SIZE
from pipecd.trace_export.collector import EXPORT_PATH
from tests.controlplane.server_fixture import ControlPlane, control_plane
from tests.eventually import eventually
from tests.raw_grpc import unary
from tests.trace_collector import Span, http_collector, read_spans


def request(**resource: str) -> ExportTraceServiceRequest:
    message = ExportTraceServiceRequest()
    spans = message.resource_spans.add()
    for key, value in resource.items():
        spans.resource.attributes.add(key=key.replace("_", "-")).value.string_value = value
    spans.scope_spans.add().spans.add(name="Deploy", trace_id=bytes(16), span_id=bytes(8))
    return message


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path) as running:
        yield running


async def export(
    plane: ControlPlane,
    authorization: str,
    data: bytes,
    compression: grpc.Compression = grpc.Compression.NoCompression,
) -> bytes:
    async with aio.insecure_channel(plane.address, compression=compression) as channel:
        return await unary(channel, EXPORT_PATH)(data, metadata=[("authorization", authorization)])


async def test_spans_of_an_agent_are_forwarded_with_the_name_of_the_agent(tmp_path: Path) -> None:
    with http_collector() as collector:
        async with control_plane(tmp_path, tracing={"endpoint": collector.url}) as plane:
            piped_id, key = await plane.register_piped()
            sent = request(project_id="other", piped_id="forged", service_name="piped")
            answer = await export(plane, f"Bearer shop,{piped_id},{key}", sent.SerializeToString())
            assert ExportTraceServiceResponse.FromString(answer) == ExportTraceServiceResponse()

            async def forwarded() -> list[Span]:
                """Without waiting for the interval, after which the control plane sends its own spans."""
                spans = read_spans(request.body for request in collector.requests)
                return [span for span in spans if span.resource.get("service-name") == "piped"]

            (span,) = await eventually(forwarded)
            assert span.resource == {"service-name": "piped", "project-id": "shop", "piped-id": piped_id}
            with pytest.raises(aio.AioRpcError) as caught:
                await export(plane, f"Bearer shop,{piped_id},{key}", b"\x0a\xff")
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    names = {span.name for sent in collector.requests for span in read_spans([sent.body])}
    assert "grpc.service.webservice.WebService/RegisterPiped" in names


async def test_without_a_collector_spans_are_accepted_and_dropped(plane: ControlPlane) -> None:
    piped_id, key = await plane.register_piped()
    assert await export(plane, f"Bearer shop,{piped_id},{key}", request().SerializeToString()) == b""
    for authorization in (
        "",
        f"PIPED-TOKEN shop,{piped_id},{key}",
        f"Bearer other,{piped_id},{key}",
        f"Bearer shop,{piped_id},wrong",
        f"Bearer shop,{piped_id}",
    ):
        with pytest.raises(aio.AioRpcError) as caught:
            await export(plane, authorization, request().SerializeToString())
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    # Compressed, the second one is 1,000 times smaller.
    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        with pytest.raises(aio.AioRpcError) as caught:
            too_large = bytes(MAX_REQUEST_SIZE + 1)
            await export(plane, f"Bearer shop,{piped_id},{key}", too_large, compression)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await plane.console.call("DisablePiped", piped_id=piped_id)
    with pytest.raises(aio.AioRpcError) as caught:
        await export(plane, f"Bearer shop,{piped_id},{key}", b"")
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
