"""Loops repeat at their interval, start early when they are woken, and survive every error."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import structlog.testing

from pipecd.errors import PipecdError, Refused, Temporary
from pipecd.piped.loop import Feed, Wake, repeat
from tests.virtual_clock import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@dataclass
class Ticks:
    """Records when it is called; fails with `errors` first."""

    clock: VirtualClock
    errors: list[Exception] = field(default_factory=list)
    at: list[float] = field(default_factory=list)

    async def __call__(self) -> None:
        self.at.append(self.clock.monotonic())
        if self.errors:
            raise self.errors.pop(0)


@asynccontextmanager
async def repeating(
    clock: VirtualClock, tick: Callable[[], Awaitable[None]], wake: Wake, *feeds: Feed, interval: float = 60.0
) -> AsyncIterator[None]:
    task = asyncio.create_task(
        repeat("test", tick, clock=clock, interval=interval, wake=wake, feeds=feeds), name="repeat"
    )
    try:
        yield
    finally:
        task.cancel()


async def test_a_loop_runs_at_once_and_then_at_its_interval_with_jitter(clock: VirtualClock) -> None:
    ticks = Ticks(clock)
    async with repeating(clock, ticks, Wake()):
        await clock.advance(3600)
    gaps = [after - before for before, after in zip(ticks.at, ticks.at[1:], strict=False)]
    assert ticks.at[0] == 0
    assert 54 <= min(gaps) < max(gaps) <= 66


async def test_a_wake_or_a_feed_starts_the_next_iteration_once(clock: VirtualClock) -> None:
    ticks, wake, feed = Ticks(clock), Wake(), Feed()
    async with repeating(clock, ticks, wake, feed):
        await clock.advance(10)
        wake()
        feed()
        wake()
        await clock.advance(10)
    assert ticks.at == [0, 10]


async def test_an_outage_of_a_day_is_logged_once_and_does_not_end_the_loop(clock: VirtualClock) -> None:
    ticks = Ticks(clock, errors=[Temporary("away")] * 1_300)
    with structlog.testing.capture_logs() as logs:
        async with repeating(clock, ticks, Wake()):
            await clock.advance(26 * 3600)
    assert len(ticks.at) > 1_400
    warnings = [log["event"] for log in logs if log["log_level"] in ("warning", "info")]
    assert warnings == ["loop_paused", "loop_resumed"]


@pytest.mark.parametrize("error", [Refused("no"), PipecdError("bad"), ValueError("a bug")])
async def test_no_error_ends_the_loop(clock: VirtualClock, error: Exception) -> None:
    ticks = Ticks(clock, errors=[error])
    async with repeating(clock, ticks, Wake()):
        await clock.advance(70)
    assert len(ticks.at) == 2


async def test_no_interval_makes_the_loop_spin(clock: VirtualClock) -> None:
    """Whatever the configuration file says."""
    ticks = Ticks(clock)
    async with repeating(clock, ticks, Wake(), interval=0.0):
        await clock.advance(10)
    assert len(ticks.at) <= 130
