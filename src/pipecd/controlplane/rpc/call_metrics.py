"""Log line, metrics and span of every call: both servers wrap each call in `record_call`."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

import structlog
from prometheus_client import Counter, Histogram

from pipecd import tracing
from pipecd.clock import Clock
from pipecd.controlplane.rpc.method import Method
from pipecd.controlplane.rpc.status import status_code
from pipecd.tracing import Kind, Span

log = structlog.get_logger()

#: Status codes that are faults of the server, by the conventions of OpenTelemetry.
_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})

CALLS = Counter("pipecd_rpc_calls_total", "Calls answered, by status code.", ["method", "code"])
CALL_SECONDS = Histogram(
    "pipecd_rpc_seconds",
    "How long unary calls took.",
    ["service"],
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30),
)


@asynccontextmanager
async def record_call(clock: Clock, method: Method, peer: str, traceparent: str = "") -> AsyncGenerator[None]:
    """Log and count the result of the block; its exceptions propagate.

    A unary call has a span, which belongs to the caller's `traceparent`. Streams last too long for one.
    """
    if method.streams or not tracing.enabled():
        span_of_call: AbstractContextManager[Span | None] = nullcontext()
    else:
        attributes = {"rpc.system": "grpc", "rpc.service": method.service, "rpc.method": method.name}
        span_of_call = tracing.span(method.path[1:], Kind.SERVER, parent=traceparent, attributes=attributes)
    with span_of_call as span:
        async with _recording(clock, method, peer, span):
            yield


@asynccontextmanager
async def _recording(clock: Clock, method: Method, peer: str, span: Span | None) -> AsyncGenerator[None]:
    started = clock.monotonic()
    code = "OK"
    try:
        yield
    except asyncio.CancelledError:
        code = "CANCELLED"
        raise
    except Exception as error:
        code = status_code(error)
        raise
    finally:
        seconds = clock.monotonic() - started
        CALLS.labels(method.path, code).inc()
        if not method.streams:
            CALL_SECONDS.labels(method.service).observe(seconds)
        level = log.debug if code in ("OK", "CANCELLED") else log.info
        if span:
            span.set_attribute("rpc.grpc.status", code)
            if code in _FAULTS:
                span.fail(code)
        level("rpc", method=method.path, code=code, seconds=round(seconds, 4), peer=peer)
