"""The machine's clock, which a test can set forward: for programs that wait for real processes as well."""

import asyncio
import time
from contextlib import suppress


class SkippableClock:
    """A `pipecd.clock.Clock`. Time passes as usual, and `skip` lets a span of it pass at once."""

    def __init__(self) -> None:
        self._skipped = 0.0
        self._skip = asyncio.Event()

    def now(self) -> float:
        return time.time() + self._skipped

    def monotonic(self) -> float:
        return time.monotonic() + self._skipped

    async def sleep(self, seconds: float) -> None:
        due = self.monotonic() + seconds
        await asyncio.sleep(0)
        while (remaining := due - self.monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(remaining):
                    await self._skip.wait()

    def skip(self, seconds: float) -> None:
        """Everyone who sleeps no longer than `seconds` from now wakes."""
        self._skipped += seconds
        self._skip.set()
        self._skip = asyncio.Event()
