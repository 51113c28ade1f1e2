"""A clock that stands still until a test advances it."""

import asyncio
import heapq
import itertools
import math
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import TypeVar

Result = TypeVar("Result")

#: Rounds of the event loop, or wake-ups within a microsecond, after which an endless loop is reported.
MAX_ROUNDS = 10_000

#: Identifies the call of `VirtualClock.run` that a task was started by, directly or through other tasks.
_run: ContextVar[object] = ContextVar("run", default=None)


class VirtualClock:
    """A `pipecd.clock.Clock` in virtual time. `now` and `monotonic` advance together.

    Sleepers wake in the order of their due times; those due at the same time in the order in which they went
    to sleep. Between two wake-ups every task runs until it waits, so that a task that sleeps again within the
    advanced span wakes again within it. Tasks that wait for real I/O are not waited for: use
    `until_sleeping`.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._start = now
        self._elapsed = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None], object]] = []
        self._changed = asyncio.Event()
        #: Wake-ups since time advanced by at least a microsecond, and when it last did.
        self._wakes, self._wakes_since = 0, 0.0

    def now(self) -> float:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    def jump(self, seconds: float) -> None:
        """The machine's clock is set by `seconds`; no time passes."""
        self._start += seconds

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        # Later than now, also if `seconds` is too small a number to be added: a caller may wait for a rest.
        due = max(self._elapsed + seconds, math.nextafter(self._elapsed, math.inf))
        heapq.heappush(self._sleepers, (due, next(self._order), woken, _run.get()))
        self._changed.set()
        await woken

    @property
    def sleeping(self) -> int:
        """How many tasks sleep."""
        return sum(not woken.done() for _, _, woken, _ in self._sleepers)

    async def advance(self, seconds: float) -> None:
        """Advances by `seconds` and wakes everyone due on the way."""
        end = self._elapsed + seconds
        await settle()
        while (due := self._next_due()) is not None and due <= end:
            self._wake(due)
            await settle()
        self._elapsed = end

    async def until_sleeping(self, count: int = 1) -> None:
        """Waits, in real time, until at least `count` tasks sleep."""
        while self.sleeping < count:
            self._changed.clear()
            await self._changed.wait()

    async def run(self, awaitable: Awaitable[Result], *, own: bool = False) -> Result:
        """Runs `awaitable` to its end and skips all sleeping: time jumps whenever every task waits.

        With `own`, it jumps only while `awaitable` itself sleeps, or a task that it started. Otherwise loops
        in the background let any time pass while it waits for real I/O.
        """
        run = object() if own else None
        token = _run.set(run or _run.get())
        try:
            task = asyncio.ensure_future(awaitable)
        finally:
            _run.reset(token)
        task.add_done_callback(lambda _: self._changed.set())
        try:
            while not task.done():
                await settle()
                if task.done():
                    break
                if (due := self._next_due()) is not None and (not own or self._sleeps(run)):
                    self._wake(due)
                else:
                    self._changed.clear()
                    await self._changed.wait()
            return await task
        finally:
            task.cancel()

    def _next_due(self) -> float | None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def _sleeps(self, run: object) -> bool:
        return any(of is run and not woken.done() for _, _, woken, of in self._sleepers)

    def _wake(self, due: float) -> None:
        _, _, woken, _ = heapq.heappop(self._sleepers)
        self._elapsed = max(self._elapsed, due)
        if self._elapsed >= self._wakes_since + 1e-6:
            self._wakes, self._wakes_since = 0, self._elapsed
        self._wakes += 1
        if self._wakes > MAX_ROUNDS:
            raise AssertionError(f"tasks woke {MAX_ROUNDS} times at {self._elapsed} s")
        woken.set_result(None)


async def settle() -> None:
    """Lets every task run until it waits for something."""
    loop = asyncio.get_running_loop()
    for _ in range(MAX_ROUNDS):
        await asyncio.sleep(0)
        if not loop._ready:  # type: ignore[attr-defined]
            return
    raise AssertionError(f"tasks still run after {MAX_ROUNDS} rounds of the event loop")
