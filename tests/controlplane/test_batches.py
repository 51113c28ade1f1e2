"""Requests that are made at the same time are executed together, each with its own result."""

import asyncio
from collections.abc import Sequence

import pytest

from pipecd.controlplane.store.batches import Batches
from pipecd.errors import Temporary
from tests.virtual_clock import VirtualClock

WINDOW = 0.05


class Doubling:
    """Doubles numbers in batches. `error`: fails once. `may_end`: waits until it is set."""

    def __init__(self, max_size: int = 100) -> None:
        self.clock = VirtualClock()
        self.batches = Batches(self._execute, self.clock, window=WINDOW, max_size=max_size)
        self.executed: list[Sequence[int]] = []
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.error: Exception | None = None

    async def _execute(self, numbers: Sequence[int]) -> Sequence[int]:
        self.executed.append(list(numbers))
        await self.may_end.wait()
        if self.error:
            error, self.error = self.error, None
            raise error
        return [2 * number for number in numbers]

    def add(self, *numbers: int) -> list["asyncio.Task[int]"]:
        return [asyncio.create_task(self.batches.add(number)) for number in numbers]


async def test_requests_within_the_window_are_one_batch() -> None:
    doubling = Doubling(max_size=3)
    first = doubling.add(1, 2)
    await doubling.clock.advance(WINDOW / 2)
    second = doubling.add(3, 4, 5)
    await doubling.clock.advance(WINDOW * 3)
    assert await asyncio.gather(*first, *second) == [2, 4, 6, 8, 10]
    assert doubling.executed == [[1, 2, 3], [4, 5]]


async def test_an_error_is_that_of_its_batch_only() -> None:
    doubling = Doubling()
    doubling.error = Temporary("the database does not respond")
    failing = doubling.add(1, 2)
    await doubling.clock.advance(WINDOW)
    results = await asyncio.gather(*failing, return_exceptions=True)
    assert [type(result) for result in results] == [Temporary, Temporary]
    (task,) = doubling.add(3)
    await doubling.clock.advance(WINDOW)
    assert await task == 6


@pytest.mark.parametrize("executing", [False, True])
async def test_a_caller_that_is_cancelled_takes_only_its_own_request_back(*, executing: bool) -> None:
    """The first one, which executes the requests of all, and the last one."""
    doubling = Doubling()
    doubling.may_end.clear()
    tasks = doubling.add(1, 2, 3, 4)
    await doubling.clock.advance(WINDOW if executing else WINDOW / 2)
    tasks[0].cancel()
    tasks[3].cancel()
    doubling.may_end.set()
    await doubling.clock.advance(WINDOW * 3)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[1:3] == [4, 6]
    assert [type(results[0]), type(results[3])] == [asyncio.CancelledError] * 2
    assert doubling.executed[-1] == [2, 3]


async def test_a_caller_that_is_cancelled_when_its_turn_comes_leaves_it_to_another() -> None:
    """Whether it learns of its turn or of its cancellation first, and with others behind it or none yet."""
    for cancelled_first in (True, False):
        for later in ((3, 4), ()):
            doubling = Doubling(max_size=1)
            first, second = doubling.add(1, 2)
            others = doubling.add(*later)
            await doubling.clock.advance(WINDOW / 2)
            doubling.may_end.clear()
            await doubling.clock.advance(WINDOW / 2)
            # The first one ends in the same round of the event loop as the second one is cancelled.
            doubling.may_end.set()
            if not cancelled_first:
                await first
            second.cancel()
            await asyncio.wait([first, second])
            others += doubling.add(5)
            await doubling.clock.advance(WINDOW * 4)
            assert await asyncio.gather(first, *others) == [2, *(2 * number for number in (*later, 5))]
            assert second.cancelled()
