"""What is not exported yet: spans of this process, and requests that agents sent to be forwarded.

Adding never waits. What does not fit is dropped and counted.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from prometheus_client import Counter

from pipecd.clock import Clock, set_within
from pipecd.errors import PipecdError, Temporary
from pipecd.retry import Retry
from pipecd.retry import call as call_with_retry

log = structlog.get_logger()

#: Registered by each program in its own registry, besides the default one.
REQUESTS = Counter(
    "pipecd_otlp_requests",
    "Requests with spans by outcome: sent, rejected by the collector, failed, or dropped because too much was"
    " queued or no collector is configured.",
    ["outcome"],
)
SPANS_DROPPED = Counter("pipecd_otlp_spans_dropped", "Spans of this process that did not fit into the queue.")

#: One OTLP request, encoded. Raises PipecdError.
Send = Callable[[bytes], Awaitable[None]]

#: Interval at which spans are sent (seconds).
INTERVAL = 5.0
#: Spans of one request.
MAX_BATCH = 512
MAX_SPANS = 4096
#: Of all requests of agents that wait to be forwarded, in bytes.
MAX_REQUESTS_SIZE = 16 * 1024 * 1024
_RETRY = Retry(base=0.5, cap=5.0, tries=4)
#: Interval at which failures are logged (seconds).
_LOG_INTERVAL = 300.0


class ExportQueue:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wake = asyncio.Event()
        self._spans: deque[Any] = deque()
        self._requests: deque[bytes] = deque()
        self._requests_size = 0
        self._logged_at: float | None = None
        self._closed = False

    def add_span(self, span: Any) -> None:
        """Add a finished span of the SDK."""
        if len(self._spans) >= MAX_SPANS:
            SPANS_DROPPED.inc()
            return
        self._spans.append(span)
        if len(self._spans) == MAX_BATCH:
            self._wake.set()

    def add_request(self, data: bytes) -> None:
        """Add an encoded `ExportTraceServiceRequest`."""
        if self._requests_size + len(data) > MAX_REQUESTS_SIZE:
            REQUESTS.labels("dropped").inc()
            return
        self._requests.append(data)
        self._requests_size += len(data)
        self._wake.set()

    async def run(self, send: Send) -> None:
        """Send until `close`, and then what is left."""
        closed = False
        while not closed:
            await set_within(self._clock, self._wake, INTERVAL)
            self._wake.clear()
            closed = self._closed
            try:
                await self._flush(send)
            except Exception:
                REQUESTS.labels("failed").inc()
                log.exception("unhandled_error", loop="traces")

    def close(self) -> None:
        """Nothing is added any more: `run` ends when all is sent."""
        self._closed = True
        self._wake.set()

    async def _flush(self, send: Send) -> None:
        """Send all that is queued."""
        while self._requests or self._spans:
            if self._requests:
                data = self._requests.popleft()
                self._requests_size -= len(data)
            else:
                batch = [self._spans.popleft() for _ in range(min(MAX_BATCH, len(self._spans)))]
                data = await asyncio.to_thread(_encode, batch)
            await self._send(send, data)

    def drop_all(self) -> None:
        SPANS_DROPPED.inc(len(self._spans))
        REQUESTS.labels("dropped").inc(len(self._requests))
        self._spans.clear()
        self._requests.clear()
        self._requests_size = 0

    async def _send(self, send: Send, data: bytes) -> None:
        try:
            await call_with_retry(lambda: send(data), _RETRY, sleep=self._clock.sleep)
        except asyncio.CancelledError:
            REQUESTS.labels("dropped").inc()
            raise
        except PipecdError as error:
            REQUESTS.labels("failed" if isinstance(error, Temporary) else "rejected").inc()
            self._log(error)
        else:
            REQUESTS.labels("sent").inc()

    def _log(self, error: PipecdError) -> None:
        now = self._clock.monotonic()
        if self._logged_at is None or now - self._logged_at > _LOG_INTERVAL:
            self._logged_at = now
            log.warning("traces_not_exported", error=str(error))


def _encode(spans: list[Any]) -> bytes:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    data: bytes = encode_spans(spans).SerializeToString()
    return data
