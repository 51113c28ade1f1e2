"""A pool of client connections that platforms share instead of opening one for each call.

`piped.run` owns the pool while it runs, and platforms use it through `shared_connection`. Without a pool,
each use opens and closes its own connection.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pipecd.clock import Clock


@dataclass(kw_only=True)
class _Connection:
    """`expires_at` is in monotonic seconds."""

    client: Any
    exit_stack: AsyncExitStack
    expires_at: float
    users: int = 0


class _Pool:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._connections: dict[Hashable, _Connection] = {}
        #: No longer handed out; closed once the last user is done.
        self._retired: list[_Connection] = []
        self._locks: defaultdict[Hashable, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def acquire(
        self, key: Hashable, open_connection: Callable[[], AbstractAsyncContextManager[Any]], max_age: float
    ) -> _Connection:
        await self._close_unused()
        async with self._locks[key]:
            connection = self._connections.get(key)
            if connection and self._clock.monotonic() > connection.expires_at:
                self.retire(connection)
                connection = None
            if connection is None:
                exit_stack = AsyncExitStack()
                client = await exit_stack.enter_async_context(open_connection())
                connection = _Connection(
                    client=client, exit_stack=exit_stack, expires_at=self._clock.monotonic() + max_age
                )
                self._connections[key] = connection
            connection.users += 1
            return connection

    def retire(self, connection: _Connection) -> None:
        remaining = {key: other for key, other in self._connections.items() if other is not connection}
        if len(remaining) < len(self._connections):
            self._connections = remaining
            self._retired.append(connection)

    async def close(self) -> None:
        for connection in list(self._connections.values()):
            self.retire(connection)
            connection.users = 0
        await self._close_unused()

    async def _close_unused(self) -> None:
        unused = [connection for connection in self._retired if not connection.users]
        self._retired = [connection for connection in self._retired if connection.users]
        for connection in unused:
            await connection.exit_stack.aclose()


_pool: ContextVar[_Pool | None] = ContextVar("connection_pool", default=None)


@asynccontextmanager
async def connection_pool(clock: Clock) -> AsyncIterator[None]:
    """Share connections inside the block, and in tasks started there, until the block ends."""
    pool = _Pool(clock)
    token = _pool.set(pool)
    try:
        yield
    finally:
        _pool.reset(token)
        await pool.close()


@asynccontextmanager
async def shared_connection(
    key: Hashable,
    open_connection: Callable[[], AbstractAsyncContextManager[Any]],
    *,
    max_age: float,
    survives_errors: bool = False,
) -> AsyncIterator[Any]:
    """The connection for `key`, shared with all concurrent users of that key.

    A new one is opened when it is older than `max_age` seconds, and after a use that raised, because the
    connection itself may be broken. A client that reconnects by itself `survives_errors`.
    """
    pool = _pool.get()
    if pool is None:
        async with open_connection() as client:
            yield client
        return
    connection = await pool.acquire(key, open_connection, max_age)
    try:
        yield connection.client
    except BaseException:
        if not survives_errors:
            pool.retire(connection)
        raise
    finally:
        connection.users -= 1
