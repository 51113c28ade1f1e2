"""How every loop of the agent ticks: the only place that waits for time to pass.

`every` is the ticker; `keep` runs one tick after another and lets what will pass, pass. A `Wake` brings
the next tick forward; a `Feed` wakes everybody who listens.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import structlog

from pipecd.errors import PipecdError, Temporary
from pipecd.piped.metrics import FAULTS

log = structlog.get_logger()


class Wake:
    """Brings one waiter's next tick forward. Many calls before the tick count once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self._event.set()

    async def wait(self, timeout: float | None = None) -> bool:
        """Whether somebody called, within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Feed:
    """Says that something changed, not what: listeners look for themselves."""

    def __init__(self) -> None:
        self._wakes: set[Wake] = set()

    def __call__(self) -> None:
        for wake in self._wakes:
            wake()

    @contextmanager
    def heard_by(self, wake: Wake) -> Iterator[Wake]:
        self._wakes.add(wake)
        try:
            yield wake
        finally:
            self._wakes.discard(wake)


async def every(interval: float, wake: Wake) -> AsyncIterator[None]:
    """Now, then each `interval` seconds (a tenth more or less) or at `wake`, until cancelled."""
    while True:
        yield
        # Many agents that were started together must not stay in step.
        await wake.wait(interval * random.uniform(0.9, 1.1))


async def keep(
    name: str,
    tick: Callable[[], Awaitable[None]],
    *,
    interval: float,
    wake: Wake,
    feeds: Iterable[Feed] = (),
) -> None:
    """`tick` again and again, also when one of `feeds` says something.

    An outage, or a fault of ours, ends a tick and never the loop.
    """
    with ExitStack() as heard:
        for feed in feeds:
            heard.enter_context(feed.heard_by(wake))
        await _keep(name, tick, interval, wake)


async def _keep(name: str, tick: Callable[[], Awaitable[None]], interval: float, wake: Wake) -> None:
    failing = False
    async for _ in every(interval, wake):
        try:
            await tick()
        except Temporary as error:
            # One line an outage, however many ticks it lasts.
            (log.debug if failing else log.warning)("paused", loop=name, why=str(error))
            failing = True
        except PipecdError as error:
            log.error("refused", loop=name, why=str(error))
            failing = True
        except Exception:
            FAULTS.labels(loop=name).inc()
            log.exception("fault", loop=name)
        else:
            if failing:
                log.info("resumed", loop=name)
            failing = False
