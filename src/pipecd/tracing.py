"""Spans of distributed traces, without a dependency on OpenTelemetry.

Until a program calls `install`, which `trace_export` does if traces are configured, every function returns
immediately. A trace context travels as text, in the form of the W3C header `traceparent`:
`00-<trace id>-<span id>-<flags>`.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import Enum
from types import MappingProxyType
from typing import Protocol

#: Name of the header, and of gRPC's metadata key.
HEADER = "traceparent"
#: In characters.
MAX_LENGTH = 55
Attributes = Mapping[str, str | int | bool]
_NONE: Attributes = MappingProxyType({})

_FNV_OFFSET, _FNV_PRIME = 0x6C62272E07BB014262B821756295C58D, 0x0000000001000000000000000000013B


class Kind(Enum):
    """Of a span: a part of this program, a call that it makes, or one that it answers."""

    INTERNAL = "internal"
    CLIENT = "client"
    SERVER = "server"


class Span(Protocol):
    """A span that has not ended."""

    def set_attribute(self, name: str, value: str | int | bool) -> None: ...

    def fail(self, reason: str) -> None:
        """Mark the span as failed."""

    def end(self) -> None:
        """End a span of `begin`; a span of a context manager ends with its block."""


class Tracer(Protocol):
    """What `trace_export` installs."""

    def span(
        self, name: str, kind: Kind, parent: str, trace_id: str, attributes: Attributes
    ) -> AbstractContextManager[Span]: ...

    def begin(self, name: str, kind: Kind, attributes: Attributes) -> Span: ...

    def within(self, traceparent: str) -> AbstractContextManager[None]: ...

    def current(self) -> str: ...

    def record(
        self, name: str, own: str, parent: str, start: float, end: float, attributes: Attributes, error: str
    ) -> None: ...


_tracer: Tracer | None = None


@contextmanager
def installed(tracer: Tracer) -> Iterator[None]:
    """Send the spans of this process to `tracer` while the block runs."""
    global _tracer
    before, _tracer = _tracer, tracer
    try:
        yield
    finally:
        _tracer = before


def enabled() -> bool:
    return _tracer is not None


def span(
    name: str,
    kind: Kind = Kind.INTERNAL,
    *,
    parent: str = "",
    trace_id: str = "",
    attributes: Attributes = _NONE,
) -> AbstractContextManager[Span | None]:
    """A span for the block; an exception marks it as failed. Without a `parent`, one of the current span.

    `trace_id`: of a span that has neither (32 hexadecimal digits); empty: a random one.
    """
    return _tracer.span(name, kind, parent, trace_id, attributes) if _tracer else nullcontext()


def child(name: str, *, attributes: Attributes = _NONE) -> AbstractContextManager[Span | None]:
    """A span for a call of another program or service, if there is a current span to which it belongs."""
    if _tracer is None or not _tracer.current():
        return nullcontext()
    return _tracer.span(name, Kind.CLIENT, "", "", attributes)


def record_answer(span: Span | None, status: int) -> None:
    """Set the status code of an HTTP answer, which fails the span if it is an error."""
    if span is None:
        return
    span.set_attribute("http.response.status_code", status)
    if status > 399:
        span.fail(str(status))


def begin(name: str, *, attributes: Attributes = _NONE) -> Span | None:
    """As `child`, for a call that is no block: the caller ends the span."""
    return _tracer.begin(name, Kind.CLIENT, attributes) if _tracer and _tracer.current() else None


def within(traceparent: str) -> AbstractContextManager[None]:
    """Spans of the block belong to the span `traceparent`, which may be one of another process."""
    return _tracer.within(traceparent) if _tracer and traceparent else nullcontext()


def current() -> str:
    """The current span as a `traceparent`; empty if there is none."""
    return _tracer.current() if _tracer else ""


def record(
    name: str,
    *,
    own: str,
    parent: str,
    start: float,
    end: float,
    attributes: Attributes = _NONE,
    error: str = "",
) -> None:
    """Record a span that has ended, and that an earlier process may have begun. Times are epoch seconds.

    `own` is its `traceparent`, as in `derived`; `parent` that of its parent, empty for the first of a trace.
    """
    if _tracer:
        _tracer.record(name, own, parent, start, end, attributes, error)


def derived(name: str, parent: str = "") -> str:
    """The `traceparent` of the span `name`, which is the same in every process.

    Without a `parent`, it belongs to the trace `name`.
    """
    trace_id = parent[3:35] if parent else trace_id_of(name)
    flags = parent[53:55] if parent else "01"
    span_id = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"00-{trace_id}-{span_id}-{flags}"


def trace_id_of(name: str) -> str:
    """The trace id that PipeCD's agents derive from the id of a deployment: FNV-1a with 128 bits."""
    value = _FNV_OFFSET
    for byte in name.encode():
        value = ((value ^ byte) * _FNV_PRIME) % (1 << 128)
    return f"{value:032x}"
