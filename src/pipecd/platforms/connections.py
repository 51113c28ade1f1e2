"""Connections that platforms keep between their calls, rather than make one for each.

`piped.run` owns them while it runs; `lent` gives them out. Without an owner each use has one of its own.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any


@dataclass(kw_only=True)
class _Kept:
    made: Any
    closing: AsyncExitStack
    until: float
    users: int = 0


class _Connections:
    def __init__(self) -> None:
        self._kept: dict[Hashable, _Kept] = {}
        #: Not lent any more; closed once the last user is done.
        self._retired: list[_Kept] = []
        self._locks: defaultdict[Hashable, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def borrow(
        self, key: Hashable, make: Callable[[], AbstractAsyncContextManager[Any]], age: float
    ) -> _Kept:
        await self._close_unused()
        async with self._locks[key]:
            found = self._kept.get(key)
            if found and time.monotonic() > found.until:
                self.retire(found)
                found = None
            if found is None:
                closing = AsyncExitStack()
                made = await closing.enter_async_context(make())
                found = _Kept(made=made, closing=closing, until=time.monotonic() + age)
                self._kept[key] = found
            found.users += 1
            return found

    def retire(self, one: _Kept) -> None:
        remaining = {key: kept for key, kept in self._kept.items() if kept is not one}
        if len(remaining) < len(self._kept):
            self._kept = remaining
            self._retired.append(one)

    async def close(self) -> None:
        for one in list(self._kept.values()):
            self.retire(one)
            one.users = 0
        await self._close_unused()

    async def _close_unused(self) -> None:
        unused = [one for one in self._retired if not one.users]
        self._retired = [one for one in self._retired if one.users]
        for one in unused:
            await one.closing.aclose()


_owner: ContextVar[_Connections | None] = ContextVar("connections", default=None)


@asynccontextmanager
async def connections() -> AsyncIterator[None]:
    """What is lent inside the block, and in tasks that begin there, is kept until it ends."""
    made = _Connections()
    token = _owner.set(made)
    try:
        yield
    finally:
        _owner.reset(token)
        await made.close()


@asynccontextmanager
async def lent(
    key: Hashable, make: Callable[[], AbstractAsyncContextManager[Any]], *, age: float
) -> AsyncIterator[Any]:
    """The connection called `key`, shared with whoever else uses it now.

    It is made anew when it is older than `age` seconds, and after a use that failed: it may have been the
    connection's fault.
    """
    owner = _owner.get()
    if owner is None:
        async with make() as made:
            yield made
        return
    one = await owner.borrow(key, make, age)
    try:
        yield one.made
    except BaseException:
        owner.retire(one)
        raise
    finally:
        one.users -= 1
