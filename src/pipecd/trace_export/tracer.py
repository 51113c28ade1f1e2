"""Spans on OpenTelemetry's SDK. Secrets of this process are masked in names, attributes and reasons.

The SDK reads the `OTEL_*` variables for the sampler, the limits of spans, and the resource.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pipecd import __version__, tracing
from pipecd.telemetry import redactor
from pipecd.trace_export.queue import ExportQueue
from pipecd.tracing import Attributes, Kind

_KINDS = {Kind.INTERNAL: SpanKind.INTERNAL, Kind.CLIENT: SpanKind.CLIENT, Kind.SERVER: SpanKind.SERVER}
_PROPAGATOR = TraceContextTextMapPropagator()
#: Of a reason, in characters.
_MAX_REASON = 1000
#: Trace id and span id of the next span; None leaves one of them to chance.
_ids: ContextVar[tuple[int | None, int | None]] = ContextVar("ids", default=(None, None))


class SdkTracer:
    def __init__(self, service: str, attributes: Mapping[str, str], queue: ExportQueue) -> None:
        """`service` is the name in traces unless `OTEL_SERVICE_NAME` is set."""
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": service}
        resource = Resource.create({"service.version": __version__, **attributes, **named})
        provider = TracerProvider(resource=resource, id_generator=_Ids(), shutdown_on_exit=False)
        provider.add_span_processor(_Processor(queue))
        self._tracer = provider.get_tracer("pipecd", __version__)

    @contextmanager
    def span(
        self, name: str, kind: Kind, parent: str, trace_id: str, attributes: Attributes
    ) -> Iterator["_Span"]:
        parents = _context(parent) if parent else None
        token = _ids.set((int(trace_id, 16) if trace_id else None, None))
        try:
            started = self._tracer.start_span(
                redactor.text(name), parents, _KINDS[kind], _redacted(attributes)
            )
        finally:
            _ids.reset(token)
        span = _Span(started)
        try:
            with trace.use_span(started, record_exception=False, set_status_on_exception=False):
                yield span
        except Exception as error:
            # Whether a call was answered well is known to what answers it.
            if kind is not Kind.SERVER:
                span.fail(str(error) or type(error).__name__)
            raise
        finally:
            started.end()

    def begin(self, name: str, kind: Kind, attributes: Attributes) -> "_Span":
        return _Span(self._tracer.start_span(name, None, _KINDS[kind], _redacted(attributes)))

    @contextmanager
    def within(self, traceparent: str) -> Iterator[None]:
        with trace.use_span(
            trace.get_current_span(_context(traceparent)),
            record_exception=False,
            set_status_on_exception=False,
        ):
            yield

    def current(self) -> str:
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return carrier.get(tracing.HEADER, "")

    def record(
        self, name: str, own: str, parent: str, start: float, end: float, attributes: Attributes, error: str
    ) -> None:
        own_context = trace.get_current_span(_context(own)).get_span_context()
        token = _ids.set((own_context.trace_id, own_context.span_id))
        try:
            span = self._tracer.start_span(
                name,
                _context(parent),
                SpanKind.INTERNAL,
                _redacted(attributes),
                start_time=int(start * 1e9),
            )
        finally:
            _ids.reset(token)
        if error:
            _Span(span).fail(error)
        span.end(int(max(start, end) * 1e9))


class _Span:
    """A `tracing.Span`."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set_attribute(self, name: str, value: str | int | bool) -> None:
        self._span.set_attribute(name, redactor.text(value) if isinstance(value, str) else value)

    def fail(self, reason: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, redactor.text(reason[:_MAX_REASON])))

    def end(self) -> None:
        self._span.end()


class _Ids(RandomIdGenerator):
    """Ids that `_ids` demands, or random ones."""

    def generate_span_id(self) -> int:
        return _ids.get()[1] or super().generate_span_id()

    def generate_trace_id(self) -> int:
        return _ids.get()[0] or super().generate_trace_id()


class _Processor(SpanProcessor):
    """Adds finished spans that are sampled to the queue."""

    def __init__(self, queue: ExportQueue) -> None:
        self._queue = queue

    def on_start(self, span: Any, parent_context: context.Context | None = None) -> None:
        pass

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled:
            self._queue.add_span(span)

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def _context(traceparent: str) -> context.Context:
    """A context with that span; with none if the text is malformed or empty."""
    if not traceparent:
        return trace.set_span_in_context(NonRecordingSpan(_NO_CONTEXT), context.Context())
    return _PROPAGATOR.extract({tracing.HEADER: traceparent}, context.Context())


_NO_CONTEXT = SpanContext(trace_id=0, span_id=0, is_remote=False)


def _redacted(attributes: Attributes) -> Attributes:
    return {
        name: redactor.text(value) if isinstance(value, str) else value for name, value in attributes.items()
    }
