"""Limits how many requests per second are sent to one cluster, and sends the most important ones first."""

import asyncio
import heapq
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum

from pipecd.clock import Clock

#: The longest pause that a server may ask for (seconds).
MAX_PAUSE = 60.0


class Priority(IntEnum):
    """Which requests are sent first."""

    STAGE = 0
    LIVE_STATE = 1
    PREVIEW = 2
    DRIFT = 3


_priority: ContextVar[Priority] = ContextVar("request_priority", default=Priority.STAGE)


@contextmanager
def requests_with(priority: Priority) -> Iterator[None]:
    """Requests inside the block, and in tasks started there, have this priority. The default is STAGE."""
    token = _priority.set(priority)
    try:
        yield
    finally:
        _priority.reset(token)


@dataclass(order=True)
class _Ticket:
    priority: Priority
    number: int
    #: Set when it is the first one.
    first: asyncio.Event = field(default_factory=asyncio.Event, compare=False)
    left: bool = field(default=False, compare=False)


class RateLimit:
    """A token bucket. Requests that wait are sent by priority, then in the order in which they came."""

    def __init__(self, clock: Clock, *, per_second: float, burst: int) -> None:
        self._clock, self._per_second, self._burst = clock, per_second, burst
        self._tokens, self._at = float(burst), clock.monotonic()
        self._paused_until = self._at
        self._tickets: list[_Ticket] = []
        self._numbers = itertools.count()

    async def wait(self) -> None:
        """Returns when the next request may be sent."""
        ticket = _Ticket(_priority.get(), next(self._numbers))
        heapq.heappush(self._tickets, ticket)
        try:
            while True:
                if self._tickets[0] is not ticket:
                    ticket.first.clear()
                    await ticket.first.wait()
                elif (delay := self._delay()) > 0:
                    # A request with a higher priority may come first meanwhile.
                    await self._clock.sleep(delay)
                else:
                    self._tokens -= 1
                    return
        finally:
            ticket.left = True
            while self._tickets and self._tickets[0].left:
                heapq.heappop(self._tickets)
            if self._tickets:
                self._tickets[0].first.set()

    def pause(self, seconds: float) -> None:
        """The server is busy: send nothing for this long, and then no burst."""
        self._refill()
        self._tokens = min(self._tokens, 0.0)
        self._paused_until = max(self._paused_until, self._at + min(seconds, MAX_PAUSE))

    def _delay(self) -> float:
        """Seconds until a request may be sent; 0 or less: now."""
        self._refill()
        # The fraction is what floating-point numbers lose while the tokens are added up.
        missing = max(0.0, 1 - self._tokens - 1e-9) / self._per_second
        return max(missing, self._paused_until - self._at)

    def _refill(self) -> None:
        now = self._clock.monotonic()
        since = max(self._at, min(now, self._paused_until))
        self._tokens = min(self._burst, self._tokens + (now - since) * self._per_second)
        self._at = now
