"""Retry with backoff: `Retry` is the policy, `delays` iterates over its delays, `call` sleeps and repeats.

`Backoff` is for loops that never give up: it yields delays without end, and begins again after a success.
"""

import itertools
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from pipecd.errors import Temporary

Result = TypeVar("Result")
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Exponential backoff with full jitter. `base` and `cap` are seconds.

    `tries` includes the first; None is unlimited.
    """

    base: float = 2.0
    cap: float = 60.0
    tries: int | None = 10

    def delays(self, rng: random.Random | None = None) -> Iterator[float]:
        """The delays between attempts in seconds: `tries` - 1 of them."""
        source = rng or random
        longest = min(self.cap, self.base)
        for _ in itertools.count() if self.tries is None else range(self.tries - 1):
            yield source.uniform(0, longest)
            longest = min(self.cap, 2 * longest)


class Backoff:
    """Delays of `policy` for a loop that retries without limit (`tries` is ignored)."""

    def __init__(self, policy: Retry, rng: random.Random | None = None) -> None:
        self._policy, self._rng = replace(policy, tries=None), rng
        self._delays = self._policy.delays(rng)

    def next_delay(self) -> float:
        """Seconds to wait after this failure."""
        return next(self._delays)

    def reset(self) -> None:
        """After a success: the next failure waits as briefly as the first."""
        self._delays = self._policy.delays(self._rng)


async def call(
    fn: Callable[[], Awaitable[Result]],
    policy: Retry,
    *,
    sleep: Sleep,
    on: tuple[type[Exception], ...] = (Temporary,),
    before_retry: Callable[[Exception, float], None] | None = None,
) -> Result:
    """Call `fn`, retrying while it raises one of `on`. Raises the last error when `policy` is exhausted.

    `sleep` waits, usually that of a `pipecd.clock.Clock`. A Temporary error with `after` waits at least that
    long. `before_retry` receives the error and the delay in seconds.
    """
    for delay in policy.delays():
        try:
            return await fn()
        except on as error:
            requested = error.after if isinstance(error, Temporary) else None
            retry_delay = delay if requested is None else max(delay, requested)
            if before_retry:
                before_retry(error, retry_delay)
            await sleep(retry_delay)
    return await fn()
