"""Connections are shared while they are valid, and closed after their last user."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from pipecd.platforms.connections import connection_pool, shared_connection
from tests.virtual_clock import VirtualClock


@dataclass
class Connector:
    """Opens numbered connections."""

    opened: int = 0
    closed: list[int] = field(default_factory=list)

    def connect(self, key: str = "a", max_age: float = 60.0) -> AbstractAsyncContextManager[int]:
        return shared_connection(key, self._open, max_age=max_age)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[int]:
        self.opened += 1
        number = self.opened
        await asyncio.sleep(0)
        yield number
        self.closed.append(number)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def connector() -> Connector:
    return Connector()


async def use(connect: Callable[[], AbstractAsyncContextManager[int]]) -> int:
    async with connect() as number:
        await asyncio.sleep(0)
        return number


async def test_each_use_has_its_own_connection_without_a_pool(connector: Connector) -> None:
    assert [await use(connector.connect), await use(connector.connect)] == [1, 2]
    assert connector.closed == [1, 2]


async def test_concurrent_and_successive_uses_share_one_connection(
    connector: Connector, clock: VirtualClock
) -> None:
    async with connection_pool(clock):
        assert await asyncio.gather(*(use(connector.connect) for _ in range(5))) == [1] * 5
        assert await use(connector.connect) == 1
        assert await use(lambda: connector.connect("b")) == 2
        assert connector.closed == []
    assert sorted(connector.closed) == [1, 2]


async def test_after_a_failed_use_the_next_one_gets_a_new_connection(
    connector: Connector, clock: VirtualClock
) -> None:
    async with connection_pool(clock):
        async with connector.connect():
            with pytest.raises(RuntimeError):
                async with connector.connect():
                    raise RuntimeError("denied")
            assert await use(connector.connect) == 2
            assert connector.closed == [], "the first connection is still in use"
        assert await use(connector.connect) == 2
        assert connector.closed == [1]
    assert connector.closed == [1, 2]


async def test_an_expired_connection_stays_open_for_its_current_users(
    connector: Connector, clock: VirtualClock
) -> None:
    async with connection_pool(clock):
        async with connector.connect(max_age=60.0) as first:
            await clock.advance(60)
            assert await use(connector.connect) == 1
            await clock.advance(1)
            assert await use(connector.connect) == 2
            assert (first, connector.closed) == (1, [])
        assert await use(connector.connect) == 2
        assert connector.closed == [1]


async def test_a_connection_that_could_not_be_opened_is_tried_again(
    connector: Connector, clock: VirtualClock
) -> None:
    @asynccontextmanager
    async def broken() -> AsyncIterator[int]:
        raise RuntimeError("no network")
        yield 0

    async with connection_pool(clock):
        with pytest.raises(RuntimeError):
            await use(lambda: shared_connection("a", broken, max_age=60.0))
        assert await use(connector.connect) == 1


async def test_tasks_started_inside_the_pool_share_its_connections(
    connector: Connector, clock: VirtualClock
) -> None:
    async with connection_pool(clock), asyncio.TaskGroup() as tasks:
        uses = [tasks.create_task(use(connector.connect)) for _ in range(3)]
    assert [task.result() for task in uses] == [1, 1, 1]
