"""Which transactions leave room for others: those of agents, which are many, and repeat what has failed.

`rpc.guard` enters `yielding` for their calls. Each backend has `Turns` in front of its threads or
connections, so that those of people, streams and jobs do not wait behind those of thousands of agents.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

from pipecd.clock import SYSTEM_CLOCK, timeout

_yields: ContextVar[bool] = ContextVar("yields", default=False)


@contextmanager
def yielding() -> Iterator[None]:
    """Transactions of the block leave room for others."""
    token = _yields.set(True)
    try:
        yield
    finally:
        _yields.reset(token)


def yields() -> bool:
    return _yields.get()


class Turns:
    """So many transactions that yield are executed at the same time; the others wait here, in their order."""

    def __init__(self, count: int, max_wait: float | None = None) -> None:
        """`max_wait` in seconds."""
        self._semaphore, self._max_wait = asyncio.Semaphore(count), max_wait

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """The turn of a transaction that yields; others have no need of one. Raises TimeoutError."""
        if not yields():
            yield
            return
        # Real time, as that of the database.
        async with timeout(SYSTEM_CLOCK, self._max_wait if self._semaphore.locked() else None):
            await self._semaphore.acquire()
        try:
            yield
        finally:
            self._semaphore.release()
