"""Measures how long the event loop is blocked while a test feeds it hostile input.

    async with loop_latency() as latency:
        await feed(...)
    assert latency.longest < LIMIT

The time is that of the loop's thread on the processor, so that it does not depend on other programs of the
machine. Work in other threads counts too if it holds Python's global lock for long, because the loop then
cannot run although its thread does nothing.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

#: Seconds. Anything that grows faster than its input takes many times as long with the inputs of the tests.
LIMIT = 0.5
#: Between two measurements, in seconds.
_INTERVAL = 0.005
#: Other programs may delay the loop for this long without counting (seconds of real time).
_PATIENCE = 8.0


@dataclass
class Latency:
    """`longest` is in seconds."""

    longest: float = 0.0


@asynccontextmanager
async def loop_latency(*, with_collector: bool = False) -> AsyncIterator[Latency]:
    """Without collections of garbage: a test process holds the objects of a thousand tests.

    `with_collector`: also with those of objects that are created meanwhile. In a test process, this takes
    a second, and the objects that `tests.conftest` froze would be searched again from then on.
    """
    latency = Latency()
    with _only_new_objects_collected() if with_collector else _nothing_collected():
        task = asyncio.create_task(_measure(latency), name="loop latency")
        await asyncio.sleep(0)
        try:
            yield latency
            await asyncio.sleep(2 * _INTERVAL)
        finally:
            task.cancel()


@contextmanager
def _nothing_collected() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _only_new_objects_collected() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def run_beside_loop(work: Callable[[], object]) -> None:
    """Run `work` in a thread, which sends requests to a server of this loop, and assert the latency."""
    async with loop_latency() as latency:
        await asyncio.to_thread(work)
    assert latency.longest < LIMIT


async def _measure(latency: Latency) -> None:
    while True:
        computing, real = time.thread_time(), time.monotonic()
        await asyncio.sleep(_INTERVAL)
        blocked = time.thread_time() - computing
        if time.monotonic() - real > _PATIENCE:
            blocked = max(blocked, time.monotonic() - real - _PATIENCE)
        latency.longest = max(latency.longest, blocked)
