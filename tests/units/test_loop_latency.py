"""The measurement of the other tests notices a blocked event loop."""

import asyncio
import time

import pytest

from tests.loop_latency import CALLBACK_LIMIT, LIMIT, loop_latency


def compute(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


async def test_a_blocked_loop_is_noticed() -> None:
    async with loop_latency() as latency:
        compute(0.2)
        await asyncio.sleep(0.01)
    assert latency.longest >= 0.2


async def test_a_callback_that_takes_long_is_noticed() -> None:
    async def call() -> None:
        compute(CALLBACK_LIMIT * 3)

    async with loop_latency() as latency:
        # The test's own steps do not count.
        compute(0.1)
        await asyncio.create_task(call())
    latency.slowness = 1.0
    with pytest.raises(AssertionError, match="call"):
        latency.check()


async def test_waiting_and_work_in_a_thread_do_not_block() -> None:
    async with loop_latency() as latency:
        await asyncio.sleep(0.05)
        await asyncio.to_thread(compute, 0.2)
    assert latency.longest < LIMIT / 4
    latency.check()
