"""Log line and metrics of every call: both servers wrap each call in `record_call`."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog
from prometheus_client import Counter, Histogram

from pipecd.clock import Clock
from pipecd.controlplane.rpc.method import Method
from pipecd.controlplane.rpc.status import status_code

log = structlog.get_logger()

CALLS = Counter("pipecd_rpc_calls_total", "Calls answered, by status code.", ["method", "code"])
CALL_SECONDS = Histogram(
    "pipecd_rpc_seconds",
    "How long unary calls took.",
    ["service"],
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30),
)


@asynccontextmanager
async def record_call(clock: Clock, method: Method, peer: str) -> AsyncGenerator[None]:
    """Log and count the result of the block; its exceptions propagate."""
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
        level("rpc", method=method.path, code=code, seconds=round(seconds, 4), peer=peer)
