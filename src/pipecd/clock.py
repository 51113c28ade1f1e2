"""Time as an argument: code that waits or compares times receives a `Clock`, and tests give it virtual time.

`SYSTEM_CLOCK` is the real one. `timeout` is `asyncio.timeout` on a given clock, and `set_within` waits for an
event on a given clock.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch; may jump when the machine's clock is set."""

    def monotonic(self) -> float:
        """Seconds since an unspecified start; never goes backwards. For durations and deadlines."""

    async def sleep(self, seconds: float) -> None:
        """Returns after `seconds`. Zero or less lets other tasks run once."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


#: The clock of programs; only tests use another one.
SYSTEM_CLOCK: Clock = SystemClock()


class Elapsed:
    """Seconds since an epoch time, which an earlier process may have stored. Never negative.

    The machine's clock is read once for an epoch time: if it is set afterwards, nothing ends early or late.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start: float | None = None
        self._base = 0.0

    def since(self, start: float) -> float:
        if start != self._start:
            self._start = start
            self._base = max(self._clock.now() - start, 0.0) - self._clock.monotonic()
        return self._base + self._clock.monotonic()


def timeout(clock: Clock, seconds: float | None) -> AbstractAsyncContextManager[asyncio.Timeout]:
    """Cancels its block after `seconds` of `clock`. Raises TimeoutError then. None sets no limit.

    Yields the timeout; its `expired()` tells it from a TimeoutError that was raised in the block.
    """
    # A timer of the event loop costs a fifth of a task that sleeps, which other clocks need.
    if seconds is None or isinstance(clock, SystemClock):
        return asyncio.timeout(seconds)
    return _timeout_of(clock, seconds)


@asynccontextmanager
async def _timeout_of(clock: Clock, seconds: float) -> AsyncIterator[asyncio.Timeout]:
    async with asyncio.timeout(None) as scope:
        timer = asyncio.create_task(_expire(scope, clock, seconds), name="timeout")
        try:
            yield scope
        finally:
            timer.cancel()


async def _expire(scope: asyncio.Timeout, clock: Clock, seconds: float) -> None:
    await clock.sleep(seconds)
    scope.reschedule(asyncio.get_running_loop().time())


async def set_within(clock: Clock, event: asyncio.Event, seconds: float | None) -> bool:
    """Whether `event` is set within `seconds` of `clock`; None waits until it is. Does not clear it."""
    try:
        async with timeout(clock, seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
