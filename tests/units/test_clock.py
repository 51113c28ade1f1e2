"""Timeouts on a clock, and the virtual clock that tests use."""

import asyncio
import math

import pytest

from pipecd.clock import SystemClock, set_within, timeout
from tests.virtual_clock import VirtualClock, settle


async def test_in_a_run_of_its_own_no_time_passes_while_it_waits_for_something_else() -> None:
    clock = VirtualClock()

    async def poll() -> None:
        while True:
            await clock.sleep(1)

    async def read_and_sleep() -> float:
        # Stands for real I/O.
        await asyncio.sleep(0.05)
        read_at = clock.monotonic()
        async with timeout(clock, 60):
            await clock.sleep(5)
        return read_at

    polling = asyncio.create_task(poll())
    assert await clock.run(read_and_sleep(), own=True) == 0
    assert clock.monotonic() == 5
    await clock.run(asyncio.sleep(0.05))
    assert clock.monotonic() > 5
    polling.cancel()


async def test_sleepers_wake_in_the_order_of_their_due_times() -> None:
    clock, woken = VirtualClock(), []

    async def sleeper(name: str, seconds: float, repeat: int = 1) -> None:
        for _ in range(repeat):
            await clock.sleep(seconds)
            woken.append((name, clock.monotonic()))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleeper("slow", 3))
        tasks.create_task(sleeper("quick", 1, repeat=4))
        tasks.create_task(sleeper("equal", 3))
        await clock.advance(3)
        assert woken == [("quick", 1), ("quick", 2), ("slow", 3), ("equal", 3), ("quick", 3)]
        assert clock.sleeping == 1
        await clock.advance(0.5)
        assert clock.now() == VirtualClock().now() + 3.5
        await clock.advance(0.5)
    assert woken[-1] == ("quick", 4)


async def test_the_smallest_rest_of_a_duration_passes() -> None:
    clock = VirtualClock()
    await clock.advance(1e6)
    until = math.nextafter(clock.monotonic(), math.inf)

    async def wait() -> None:
        while until - clock.monotonic() > 0:
            await clock.sleep(1e-300)

    await clock.run(wait())


async def test_a_loop_that_never_waits_is_reported() -> None:
    clock = VirtualClock()

    async def spin(seconds: float) -> None:
        while True:
            await clock.sleep(seconds)

    for seconds in (0.0, 1e-12):
        with pytest.raises(AssertionError, match="tasks "):
            await clock.run(spin(seconds))


async def test_run_skips_all_waiting() -> None:
    clock = VirtualClock()

    async def day() -> str:
        for _ in range(24):
            await clock.sleep(3600)
        return "done"

    assert await clock.run(day()) == "done"
    assert clock.monotonic() == 24 * 3600


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = VirtualClock()
    task = asyncio.create_task(clock.sleep(5))
    await clock.until_sleeping()
    task.cancel()
    await settle()
    assert clock.sleeping == 0
    await clock.advance(10)


async def test_a_timeout_expires_in_the_time_of_its_clock() -> None:
    clock, reached = VirtualClock(), []

    async def block() -> None:
        try:
            async with timeout(clock, 30):
                await asyncio.Event().wait()
        except TimeoutError:
            reached.append(clock.monotonic())

    task = asyncio.create_task(block())
    await clock.advance(29)
    assert not reached
    await clock.advance(1)
    await task
    assert reached == [30]


async def test_a_block_that_ends_in_time_leaves_no_timer() -> None:
    clock = VirtualClock()
    async with timeout(clock, 30):
        await clock.sleep(0)
    async with timeout(clock, None):
        pass
    await settle()
    assert clock.sleeping == 0


async def test_cancellation_is_no_timeout() -> None:
    clock = VirtualClock()

    async def block() -> None:
        async with timeout(clock, 30):
            await asyncio.Event().wait()

    task = asyncio.create_task(block())
    await clock.until_sleeping()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("clock_type", [SystemClock, VirtualClock])
async def test_waiting_for_an_event_that_is_set(clock_type: type) -> None:
    event = asyncio.Event()
    event.set()
    assert await set_within(clock_type(), event, 30)


async def test_waiting_for_an_event_that_is_never_set() -> None:
    assert not await set_within(SystemClock(), asyncio.Event(), 0.001)
