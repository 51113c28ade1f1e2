"""Retry with backoff: `Retry` is the policy, `delays` iterates over its delays, `call` sleeps and repeats."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from pipecd.errors import Temporary

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Exponential backoff with full jitter. `base` and `cap` are seconds; `tries` includes the first."""

    base: float = 2.0
    cap: float = 60.0
    tries: int = 10

    def delays(self, rng: random.Random | None = None) -> Iterator[float]:
        """The delays between attempts in seconds: `tries` - 1 of them."""
        source = rng or random
        for attempt in range(self.tries - 1):
            yield source.uniform(0, min(self.cap, self.base * 2**attempt))


async def call(
    fn: Callable[[], Awaitable[Result]],
    policy: Retry,
    *,
    on: tuple[type[Exception], ...] = (Temporary,),
    before_retry: Callable[[Exception, float], None] | None = None,
) -> Result:
    """Call `fn`, retrying while it raises one of `on`. Raises the last error when `policy` is exhausted.

    A Temporary error with `after` waits at least that long. `before_retry` receives the error and the delay
    in seconds.
    """
    for delay in policy.delays():
        try:
            return await fn()
        except on as error:
            requested = error.after if isinstance(error, Temporary) else None
            retry_delay = delay if requested is None else max(delay, requested)
            if before_retry:
                before_retry(error, retry_delay)
            await asyncio.sleep(retry_delay)
    return await fn()
