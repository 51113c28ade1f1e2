"""Periodic loops of the agent.

`every` yields at an interval; `repeat` calls a function at an interval and survives its errors. A `Wake`
starts the next iteration early; a `Feed` triggers all subscribed wakes.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import structlog

from pipecd.errors import PipecdError, Temporary
from pipecd.piped.metrics import INTERNAL_ERRORS

log = structlog.get_logger()


class Wake:
    """Starts the next iteration of one loop early. Several calls before that iteration count as one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self._event.set()

    async def wait(self, timeout: float | None = None) -> bool:
        """Whether it was called within `timeout` seconds; without `timeout`, waits until called."""
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


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


async def every(interval: float, wake: Wake) -> AsyncIterator[None]:
    """Yields now, then every `interval` seconds (± 10 %) or at `wake`, until cancelled."""
    while True:
        yield
        # Jitter, so that agents started together do not poll in step.
        await wake.wait(interval * random.uniform(0.9, 1.1))


async def repeat(
    name: str,
    tick: Callable[[], Awaitable[None]],
    *,
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
        await _repeat(name, tick, interval, wake)


async def _repeat(name: str, tick: Callable[[], Awaitable[None]], interval: float, wake: Wake) -> None:
    failing = False
    async for _ in every(interval, wake):
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
            INTERNAL_ERRORS.labels(loop=name).inc()
            log.exception("unhandled_error", loop=name)
        else:
            if failing:
                log.info("loop_resumed", loop=name)
            failing = False
