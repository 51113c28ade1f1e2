"""A command is the first span of a trace that the control plane continues."""

from pathlib import Path

from pipecd.schema.model.api_key_pb2 import APIKey
from tests.controlplane.server_fixture import control_plane
from tests.pipectl.pipectl_process import Pipectl
from tests.trace_collector import http_collector, read_spans


async def test_a_command_with_a_collector_begins_the_trace(tmp_path: Path) -> None:
    with http_collector() as collector:
        async with control_plane(tmp_path, tracing={"endpoint": f"{collector.url}/v1/traces"}) as plane:
            key_file = tmp_path / "api-key"
            response = await plane.console.call("GenerateAPIKey", name="ci", role=APIKey.READ_WRITE)
            key_file.write_text(response.key)
            listed = await Pipectl(plane, key_file)(
                "piped", "list", env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
            )
            assert listed.code == 0, listed.err
    spans = read_spans(request.body for request in collector.requests)
    (command,) = [span for span in spans if span.name == "pipectl piped list"]
    call, answer = [
        span for span in spans if span.trace == command.trace and span.name.endswith("/ListPipeds")
    ]
    if call.parent != command.id:
        call, answer = answer, call
    assert (command.parent, call.parent, answer.parent) == ("", command.id, call.id)
    assert [span.resource["service.name"] for span in (command, call, answer)] == [
        "pipectl",
        "pipectl",
        "pipecd-control-plane",
    ]
    assert response.key.encode() not in b"".join(request.body for request in collector.requests)
