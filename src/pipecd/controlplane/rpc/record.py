"""Every call leaves a line in the log and a number in the metrics: `recorded` wraps it first of all."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog
from prometheus_client import Counter, Histogram

from pipecd.controlplane.rpc.method import Method
from pipecd.controlplane.rpc.status import code_of

log = structlog.get_logger()

CALLS = Counter("pipecd_rpc_calls_total", "Calls answered, by status code.", ["method", "code"])
SECONDS = Histogram(
    "pipecd_rpc_seconds",
    "How long unary calls took.",
    ["service"],
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30),
)


@asynccontextmanager
async def recorded(method: Method, peer: str) -> AsyncGenerator[None]:
    """Log and count how the body ends; what it raises goes on."""
    begun = time.monotonic()
    code = "OK"
    try:
        yield
    except asyncio.CancelledError:
        code = "CANCELLED"
        raise
    except Exception as error:
        code = code_of(error)
        raise
    finally:
        seconds = time.monotonic() - begun
        CALLS.labels(method.path, code).inc()
        if not method.streams:
            SECONDS.labels(method.service).observe(seconds)
        level = log.debug if code in ("OK", "CANCELLED") else log.info
        level("rpc", method=method.path, code=code, seconds=round(seconds, 4), peer=peer)
