"""Waiting before trying again: a policy is a value, the delays are an iterator, the sleep is one function."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from pipecd.errors import Temporary

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Exponential back-off with full jitter. Seconds; `tries` counts the first attempt too."""

    base: float = 2.0
    cap: float = 60.0
    tries: int = 10

    def delays(self, rng: random.Random | None = None) -> Iterator[float]:
        """The pauses between the attempts, `tries` − 1 of them."""
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
    """`fn()`, repeated while it raises one of `on`; the last such error rises when `policy` is used up."""
    for delay in policy.delays():
        try:
            return await fn()
        except on as error:
            wished = error.after if isinstance(error, Temporary) else None
            pause = delay if wished is None else max(delay, wished)
            if before_retry:
                before_retry(error, pause)
            await asyncio.sleep(pause)
    return await fn()
