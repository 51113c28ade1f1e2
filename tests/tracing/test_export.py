"""Export of spans: settings from the environment, both protocols, and a collector that is away."""

import asyncio
import gzip

import grpc
import pytest

from pipecd import tracing
from pipecd.clock import SYSTEM_CLOCK
from pipecd.config.tracing import Tracing
from pipecd.errors import ConfigError, Refused, Temporary
from pipecd.telemetry import redactor
from pipecd.trace_export import FLUSH_TIMEOUT, collector, exporting, queue, sending
from pipecd.trace_export.collector import Collector, connected, from_environment
from pipecd.trace_export.queue import REQUESTS, SPANS_DROPPED, ExportQueue
from tests.trace_collector import grpc_collector, http_collector, read_spans
from tests.virtual_clock import VirtualClock

BASE, TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({BASE: "http://c:4318"}, Collector(endpoint="http://c:4318/v1/traces")),
        ({BASE: "http://c:4318/"}, Collector(endpoint="http://c:4318/v1/traces")),
        ({TRACES: "http://c:4318/x"}, Collector(endpoint="http://c:4318/x")),
        ({BASE: "http://c", TRACES: "https://d/x"}, Collector(endpoint="https://d/x")),
        ({BASE: "http://c", "OTEL_SDK_DISABLED": "true"}, None),
        ({BASE: "http://c", "OTEL_TRACES_EXPORTER": "none"}, None),
        (
            {BASE: "c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            Collector(endpoint="http://c:4317", protocol="grpc"),
        ),
        (
            {
                BASE: "http://c",
                "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20b, X-Other=c",
                "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
                "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
                "OTEL_EXPORTER_OTLP_CERTIFICATE": __file__,
            },
            Collector(
                endpoint="http://c/v1/traces",
                headers={"api-key": "a b", "x-other": "c"},
                timeout=2.5,
                compress=True,
                cert_file=__file__,
            ),
        ),
    ],
)
def test_the_variables_of_opentelemetry_name_the_collector(
    environment: dict[str, str], expected: Collector | None
) -> None:
    assert from_environment(environment) == expected


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "secret-without-a-name"},
        {"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"},
        {BASE: "ftp://c"},
    ],
)
def test_invalid_variables_are_refused_without_the_headers(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        from_environment({BASE: "http://c", **environment})
    assert "secret" not in str(caught.value)


async def test_spans_arrive_by_http_with_secrets_masked() -> None:
    redactor.add("correct-horse-battery")
    with http_collector() as server:
        target = collector.create(server.url, "http/protobuf", headers="token=1", compression="gzip")
        async with (
            connected(target) as send,
            exporting("test", {"piped-id": "p"}, ExportQueue(VirtualClock()), send, VirtualClock()),
        ):
            with pytest.raises(ValueError, match="horse"), tracing.span("outer") as outer:
                assert outer
                outer.set_attribute("argument", "--token=correct-horse-battery")
                with tracing.child("inner correct-horse-battery"):
                    raise ValueError("no correct-horse-battery")
    (request,) = server.requests
    assert request.headers["token"] == "1"
    body = gzip.decompress(request.body)
    assert b"horse" not in body
    inner, outer_span = read_spans([body])
    assert inner.parent == outer_span.id
    assert (inner.failure, outer_span.failure) == ("no ******", "no ******")
    assert outer_span.resource["service.name"] == "test"
    assert outer_span.resource["piped-id"] == "p"
    assert not tracing.enabled()


async def test_spans_arrive_by_grpc_after_a_refusal_that_another_attempt_can_overcome() -> None:
    async with grpc_collector() as server:
        server.refusals += [grpc.StatusCode.UNAVAILABLE]
        target = collector.create(f"127.0.0.1:{server.port}", "grpc", headers="token=1")
        async with connected(target) as send:
            with pytest.raises(Temporary, match="UNAVAILABLE"):
                await send(b"")
            server.refusals += [grpc.StatusCode.INVALID_ARGUMENT]
            with pytest.raises(Refused, match="INVALID_ARGUMENT"):
                await send(b"")
            server.refusals += [grpc.StatusCode.UNAVAILABLE]
            # A busy machine may take longer than a program waits for its last request.
            async with exporting("test", {}, ExportQueue(SYSTEM_CLOCK), send, VirtualClock()):
                with tracing.span("one"):
                    pass
    assert [span.name for span in read_spans(server.requests)] == ["one"]
    assert server.metadata[0]["token"] == "1"


async def test_a_request_that_is_being_sent_when_the_program_ends_is_sent_once() -> None:
    exports, begun, may_end = ExportQueue(SYSTEM_CLOCK), asyncio.Event(), asyncio.Event()
    sent = []

    async def send(data: bytes) -> None:
        begun.set()
        await may_end.wait()
        sent.append(data)

    async with sending(exports, send, VirtualClock()):
        exports.add_request(b"first")
        await begun.wait()
        exports.add_request(b"second")
        asyncio.get_running_loop().call_later(0.01, may_end.set)
    assert sent == [b"first", b"second"]


async def test_the_program_does_not_end_later_because_of_a_collector_that_hangs() -> None:
    exports, dropped = ExportQueue(SYSTEM_CLOCK), count("dropped")
    clock, begun = VirtualClock(), asyncio.Event()

    async def send(data: bytes) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def program() -> None:
        async with sending(exports, send, clock):
            exports.add_request(b"first")
            await begun.wait()
            exports.add_request(b"second")

    ended = asyncio.create_task(program())
    await begun.wait()
    await clock.advance(FLUSH_TIMEOUT + 1)
    await ended
    assert count("dropped") - dropped == 2


@pytest.mark.parametrize("status", [400, 503])
async def test_http_errors_are_retried_if_they_are_temporary(status: int) -> None:
    with http_collector() as server:
        server.replies.append((status, {}, ""))
        async with connected(collector.create(server.url, "http/protobuf")) as send:
            with pytest.raises(Temporary if status == 503 else Refused, match=str(status)):
                await send(b"")


def count(outcome: str) -> float:
    return float(REQUESTS.labels(outcome)._value.get())


async def test_what_does_not_fit_is_dropped_and_counted_and_nothing_waits() -> None:
    exports = ExportQueue(VirtualClock())
    dropped, spans_dropped = count("dropped"), SPANS_DROPPED._value.get()
    piece = bytes(queue.MAX_REQUESTS_SIZE // 4)
    for _ in range(6):
        exports.add_request(piece)
    for number in range(queue.MAX_SPANS + 3):
        exports.add_span(number)
    assert count("dropped") - dropped == 2
    assert SPANS_DROPPED._value.get() - spans_dropped == 3
    exports.drop_all()
    assert count("dropped") - dropped == 6


async def test_a_fault_does_not_end_the_export() -> None:
    clock = VirtualClock()
    failed = count("failed")

    async def break_down(_: bytes) -> None:
        raise RuntimeError("a bug")

    exports = ExportQueue(clock)
    running = asyncio.create_task(exports.run(break_down))
    exports.add_request(b"x")
    while count("failed") == failed:
        await clock.sleep(0)
    assert not running.done()
    running.cancel()


def test_ids_are_the_same_in_every_process_and_those_of_pipecds_agents() -> None:
    # FNV-1a of 128 bits, from its reference implementation.
    assert tracing.trace_id_of("") == "6c62272e07bb014262b821756295c58d"
    assert tracing.trace_id_of("a") == "d228cb696f1a8caf78912b704e4a8964"
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    own = tracing.derived("d/stage-1", parent)
    assert own == tracing.derived("d/stage-1", parent) != tracing.derived("d/stage-2", parent)
    assert own.startswith("00-0af7651916cd43dd8448eb211c80319c-") and own.endswith("-00")


@pytest.mark.parametrize("stored", ["", "garbage", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 5000])
async def test_a_malformed_context_in_stored_metadata_costs_the_connection_only(stored: str) -> None:
    sent: list[bytes] = []

    async def send(data: bytes) -> None:
        sent.append(data)

    async with exporting("test", {}, ExportQueue(VirtualClock()), send, VirtualClock()):
        own = tracing.derived("d", stored)
        tracing.record("Deploy", own=own, parent=stored, start=10.0, end=12.5)
        with tracing.within(own), tracing.span("next"), tracing.span("asked", parent=stored):
            pass
    spans = {span.name: span for span in read_spans(sent)}
    assert spans.keys() == {"Deploy", "next", "asked"}
    assert spans["Deploy"].seconds == 2.5
    assert spans["asked"].parent == ("" if stored else spans["next"].id)


async def test_a_span_of_an_unsampled_trace_is_not_sent() -> None:
    exports = ExportQueue(VirtualClock())
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"

    async def send(_: bytes) -> None:
        raise AssertionError("nothing is to be sent")

    async with exporting("test", {}, exports, send, VirtualClock()):
        with tracing.span("asked", parent=parent):
            assert tracing.current().endswith("-00")
        tracing.record("Deploy", own=tracing.derived("d", parent), parent=parent, start=1, end=2)


def test_without_tracing_nothing_is_recorded_or_imported() -> None:
    with tracing.span("a") as span, tracing.child("b") as child, tracing.within("c"):
        assert span is child is None
        assert tracing.begin("d") is None
        assert tracing.current() == ""


def test_variables_without_the_extra_are_a_warning_and_a_configured_endpoint_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(BASE, "http://c")
    assert Tracing().collector() == Collector(endpoint="http://c/v1/traces")
    monkeypatch.setattr(collector, "find_spec", lambda name: None)
    assert Tracing().collector() is None
    assert Tracing(endpoint="http://d").collector() == Collector(endpoint="http://d")
    with pytest.raises(ConfigError, match="OpenTelemetry is not installed"):
        collector.check_installed()
