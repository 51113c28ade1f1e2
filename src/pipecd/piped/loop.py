"""Periodic loops of the agent.

`every` yields at an interval; `repeat` calls a function at an interval and survives its errors. A `Wake`
starts the next iteration early; a `Feed` triggers all subscribed wakes.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import structlog

from pipecd.clock import Clock, set_within
from pipecd.errors import PipecdError, Temporary
from pipecd.piped.metrics import INTERNAL_ERRORS

log = structlog.get_logger()

#: Whatever interval is configured, a loop does not keep a core busy (seconds).
MIN_INTERVAL = 0.1


class Wake:
    """Starts the next iteration of one loop early. Several calls before that iteration count as one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        """Returns once it was called."""
        await self._event.wait()
        self._event.clear()

    async def wait_within(self, clock: Clock, seconds: float) -> bool:
        """Whether it was called within `seconds`."""
        called = await set_within(clock, self._event, seconds)
        if called:
            self._event.clear()
        return called


class Feed:
    """Signals that something changed, but not what: subscribers read the new state themselves."""

    def __init__(self) -> None:
        self._wakes: set[Wake] = set()

    def __call__(self) -> None:
        for wake in self._wakes:
            wake()

    @contextmanager
    def subscribe(self, wake: Wake) -> Iterator[Wake]:
        self._wakes.add(wake)
        try:
            yield wake
        finally:
            self._wakes.discard(wake)


async def every(clock: Clock, interval: float, wake: Wake) -> AsyncIterator[None]:
    """Yields now, then every `interval` seconds (± 10 %) or at `wake`, until cancelled."""
    while True:
        yield
        # Jitter, so that agents started together do not poll in step.
        await wake.wait_within(clock, max(interval * random.uniform(0.9, 1.1), MIN_INTERVAL))


async def repeat(
    name: str,
    tick: Callable[[], Awaitable[None]],
    *,
    clock: Clock,
    interval: float,
    wake: Wake,
    feeds: Iterable[Feed] = (),
) -> None:
    """Calls `tick` every `interval` seconds, at `wake`, and when a feed signals. Runs until cancelled.

    An outage or an internal error ends one call of `tick`, never the loop.
    """
    with ExitStack() as subscriptions:
        for feed in feeds:
            subscriptions.enter_context(feed.subscribe(wake))
        await _repeat(name, tick, clock, interval, wake)


async def _repeat(
    name: str, tick: Callable[[], Awaitable[None]], clock: Clock, interval: float, wake: Wake
) -> None:
    failing = False
    internal_errors = INTERNAL_ERRORS.labels(loop=name)
    async for _ in every(clock, interval, wake):
        try:
            await tick()
        except Temporary as error:
            # One warning per outage, however many iterations it lasts.
            (log.debug if failing else log.warning)("loop_paused", loop=name, error=str(error))
            failing = True
        except PipecdError as error:
            log.error("loop_failed", loop=name, error=str(error))
            failing = True
        except Exception:
            internal_errors.inc()
            log.exception("unhandled_error", loop=name)
        else:
            if failing:
                log.info("loop_resumed", loop=name)
            failing = False
