"""Exports spans by OTLP: to a collector, or through the control plane.

`collector` is the configuration and the connection, `queue` what is not sent yet, `tracer` the spans of this
process on OpenTelemetry's SDK. `exporting` is used by the programs; `tracing` is what the rest of the code
uses.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from pipecd import tracing
from pipecd.clock import SYSTEM_CLOCK, Clock, timeout
from pipecd.trace_export.queue import ExportQueue, Send

#: How long the export may continue after the program has ended its work (seconds).
FLUSH_TIMEOUT = 5.0


@asynccontextmanager
async def exporting(
    service: str,
    attributes: Mapping[str, str],
    queue: ExportQueue,
    send: Send,
    clock: Clock = SYSTEM_CLOCK,
) -> AsyncIterator[None]:
    """Record and send the spans of this process while the block runs. Needs the extra `otel`."""
    from pipecd.trace_export.tracer import SdkTracer

    with tracing.installed(SdkTracer(service, attributes, queue)):
        async with sending(queue, send, clock):
            yield


@asynccontextmanager
async def sending(queue: ExportQueue, send: Send, clock: Clock) -> AsyncIterator[None]:
    """Send what is in the queue while the block runs, and then what is left, for a short time."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(queue.run(send), name="traces")
        try:
            yield
        finally:
            queue.close()
            # Not cancelled with the block: it is bounded.
            await asyncio.shield(_end(task, queue, clock))


async def _end(task: asyncio.Task[None], queue: ExportQueue, clock: Clock) -> None:
    try:
        async with timeout(clock, FLUSH_TIMEOUT):
            await asyncio.wait([task])
    except TimeoutError:
        task.cancel()
        queue.drop_all()
