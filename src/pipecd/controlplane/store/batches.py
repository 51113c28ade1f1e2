"""Combines what many tasks request at about the same time, so that the database executes one statement.

No task of its own: the first of those that wait executes the requests of all.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from pipecd.clock import Clock

Request = TypeVar("Request")
Result = TypeVar("Result")


class Batches(Generic[Request, Result]):
    """`execute` returns the results of requests in their order. They are collected for `window` seconds.

    An error of `execute` is raised to each of the callers whose requests were in the batch.
    """

    def __init__(
        self,
        execute: Callable[[Sequence[Request]], Awaitable[Sequence[Result]]],
        clock: Clock,
        *,
        window: float,
        max_size: int,
    ) -> None:
        self._execute, self._clock = execute, clock
        self._window, self._max_size = window, max_size
        self._waiting: list[tuple[Request, asyncio.Future[Result]]] = []
        #: Held by the one that executes. Those that wait for it get it in the order of their requests.
        self._executing = asyncio.Lock()

    async def add(self, request: Request) -> Result:
        """The result of the request, which is executed with others."""
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, result))
        try:
            async with self._executing:
                if not result.done():
                    await self._clock.sleep(self._window)
                    await self._execute_waiting()
        finally:
            # A caller that is cancelled takes its request back, or its result is discarded.
            result.cancel()
        return result.result()

    async def _execute_waiting(self) -> None:
        waiting = [entry for entry in self._waiting if not entry[1].done()]
        batch, self._waiting = waiting[: self._max_size], waiting[self._max_size :]
        try:
            results = await self._execute([request for request, _ in batch])
        except Exception as error:  # noqa: BLE001 raised to each caller
            for _, result in batch:
                if not result.done():
                    result.set_exception(error)
        except BaseException:
            # The next one executes those of the others.
            self._waiting = batch + self._waiting
            raise
        else:
            for (_, result), value in zip(batch, results, strict=True):
                if not result.done():
                    result.set_result(value)
