"""Connections are shared while they are good, and closed by whoever is last."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from pipecd.platforms.connections import connections, lent


@dataclass
class Exchange:
    """Numbers the connections that it makes."""

    made: int = 0
    closed: list[int] = field(default_factory=list)

    def to(self, key: str = "a", age: float = 60.0) -> AbstractAsyncContextManager[int]:
        return lent(key, self._make, age=age)

    @asynccontextmanager
    async def _make(self) -> AsyncIterator[int]:
        self.made += 1
        number = self.made
        await asyncio.sleep(0)
        yield number
        self.closed.append(number)


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


async def used(open_: Callable[[], AbstractAsyncContextManager[int]]) -> int:
    async with open_() as number:
        await asyncio.sleep(0)
        return number


async def test_each_use_has_its_own_where_nobody_keeps_them(exchange: Exchange) -> None:
    assert [await used(exchange.to), await used(exchange.to)] == [1, 2]
    assert exchange.closed == [1, 2]


async def test_uses_at_once_and_after_one_another_share_one(exchange: Exchange) -> None:
    async with connections():
        assert await asyncio.gather(*(used(exchange.to) for _ in range(5))) == [1] * 5
        assert await used(exchange.to) == 1
        assert await used(lambda: exchange.to("b")) == 2
        assert exchange.closed == []
    assert sorted(exchange.closed) == [1, 2]


async def test_after_a_use_that_failed_the_next_has_a_new_one(exchange: Exchange) -> None:
    async with connections():
        async with exchange.to():
            with pytest.raises(RuntimeError):
                async with exchange.to():
                    raise RuntimeError("denied")
            assert await used(exchange.to) == 2
            assert exchange.closed == [], "somebody uses it still"
        assert await used(exchange.to) == 2
        assert exchange.closed == [1]
    assert exchange.closed == [1, 2]


async def test_an_old_one_is_left_to_those_who_have_it(exchange: Exchange) -> None:
    async with connections():
        async with exchange.to(age=0.0) as first:
            assert await used(exchange.to) == 2
            assert (first, exchange.closed) == (1, [])
        assert await used(exchange.to) == 2
        assert exchange.closed == [1]


async def test_one_that_could_not_be_made_is_tried_again(exchange: Exchange) -> None:
    @asynccontextmanager
    async def broken() -> AsyncIterator[int]:
        raise RuntimeError("no network")
        yield 0

    async with connections():
        with pytest.raises(RuntimeError):
            await used(lambda: lent("a", broken, age=60.0))
        assert await used(exchange.to) == 1


async def test_tasks_that_begin_inside_share_as_well(exchange: Exchange) -> None:
    async with connections(), asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(used(exchange.to)) for _ in range(3)]
    assert [one.result() for one in made] == [1, 1, 1]
