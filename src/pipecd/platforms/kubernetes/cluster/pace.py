"""Limits how many requests per second are sent to one cluster."""

import asyncio

from pipecd.clock import Clock


class Pace:
    """A token bucket. Requests that wait are sent in the order in which they came."""

    def __init__(self, clock: Clock, *, per_second: float, burst: int) -> None:
        self._clock, self._per_second, self._burst = clock, per_second, burst
        self._tokens, self._at = float(burst), clock.monotonic()
        self._lock = asyncio.Lock()

    async def wait(self) -> None:
        """Returns when the next request may be sent."""
        async with self._lock:
            self._refill()
            if self._tokens < 1:
                await self._clock.sleep((1 - self._tokens) / self._per_second)
                self._refill()
            self._tokens -= 1

    def _refill(self) -> None:
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_second)
        self._at = now
