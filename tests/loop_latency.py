"""Measures how long the event loop is blocked while a test feeds it hostile input.

    async with loop_latency() as latency:
        await feed(...)
    latency.check()

The time is that of the loop's thread on the processor, so that it does not depend on other programs of the
machine: of each callback, and of all within five milliseconds. Work in other threads counts too if it holds
Python's global lock for long, because the loop then cannot run although its thread does nothing.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

#: Seconds, of everything between two measurements. What grows faster than its input takes many times as long
#: with the inputs of the tests.
LIMIT = 0.5
#: Seconds, of one callback of the loop, such as a step of a task, on the machine of the figures.
CALLBACK_LIMIT = 0.05
#: How long `_compute` takes on that machine (seconds).
_USUAL_SPEED = 0.0022
#: Between two measurements, in seconds.
_INTERVAL = 0.005
#: Other programs may delay the loop for this long without counting (seconds of real time).
_PATIENCE = 8.0


@dataclass
class Latency:
    """Times are in seconds."""

    longest: float = 0.0
    #: Of one callback, except those of the test itself.
    longest_callback: float = 0.0
    #: Describes that callback.
    callback: str = ""
    #: How many times slower this machine is, with what else runs on it.
    slowness: float = 1.0

    def check(self) -> None:
        assert self.longest < LIMIT
        assert self.longest_callback < CALLBACK_LIMIT * self.slowness, (self, self.callback)


@asynccontextmanager
async def loop_latency(*, with_collector: bool = False) -> AsyncIterator[Latency]:
    """Without collections of garbage: a test process holds the objects of a thousand tests.

    `with_collector`: also with those of objects that are created meanwhile. In a test process, this takes
    a second, and the objects that `tests.conftest` froze would be searched again from then on.
    """
    latency = Latency()
    collector = _only_new_objects_collected() if with_collector else _nothing_collected()
    with collector, _every_callback_measured(latency):
        task = asyncio.create_task(_measure(latency), name="loop latency")
        await asyncio.sleep(0)
        before = _slowness()
        try:
            yield latency
            await asyncio.sleep(2 * _INTERVAL)
        finally:
            task.cancel()
            latency.slowness = max(1.0, before, _slowness())


@contextmanager
def _every_callback_measured(latency: Latency) -> Iterator[None]:
    """But not the steps of the current task."""
    loop, test, handle_type = asyncio.get_running_loop(), asyncio.current_task(), _any(asyncio.Handle)
    run = handle_type._run

    def measured(handle: Any) -> None:
        if handle._loop is not loop or getattr(handle._callback, "__self__", None) is test:
            run(handle)
            return
        before = time.thread_time()
        # The handle forgets its callback as it is cancelled.
        callback = handle._callback
        run(handle)
        took = time.thread_time() - before
        if took > latency.longest_callback:
            latency.longest_callback, latency.callback = took, _describe(callback)

    handle_type._run = measured
    try:
        yield
    finally:
        handle_type._run = run


def _describe(callback: Any) -> str:
    task = getattr(callback, "__self__", None)
    return repr(task.get_coro() if isinstance(task, asyncio.Task) else callback)


def _any(value: object) -> Any:
    return value


def _slowness() -> float:
    return max(_compute(), _compute()) / _USUAL_SPEED


def _compute() -> float:
    before = time.thread_time()
    for _ in range(200_000):
        pass
    return time.thread_time() - before


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
    """Run `work` in a thread, which sends requests to a server of this loop, and check the latency."""
    async with loop_latency() as latency:
        await asyncio.to_thread(work)
    latency.check()


async def _measure(latency: Latency) -> None:
    while True:
        computing, real = time.thread_time(), time.monotonic()
        await asyncio.sleep(_INTERVAL)
        blocked = time.thread_time() - computing
        if time.monotonic() - real > _PATIENCE:
            blocked = max(blocked, time.monotonic() - real - _PATIENCE)
        latency.longest = max(latency.longest, blocked)
