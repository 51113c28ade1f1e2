"""Combines what many tasks request at about the same time, so that the database executes one statement.

No task of its own: the first of those that wait executes the requests of all.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pipecd.clock import Clock

Request = TypeVar("Request")
Result = TypeVar("Result")


@dataclass(eq=False)
class _Waiting(Generic[Request, Result]):
    """A request and its caller, who is woken when its turn to execute has come (True), or it has a result."""

    request: Request
    woken: "asyncio.Future[bool]"
    results: Sequence[Result] = ()
    error: Exception | None = None

    def wake(self, *, executes: bool) -> None:
        if not self.woken.done():
            self.woken.set_result(executes)

    def was_appointed(self) -> bool:
        return self.woken.done() and not self.woken.cancelled() and self.woken.result()


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
        #: Those without a result, in their order.
        self._waiting: list[_Waiting[Request, Result]] = []
        #: Whether a caller executes, or has been woken to do it.
        self._executing = False

    async def add(self, request: Request) -> Result:
        """The result of the request, which is executed with others."""
        own = _Waiting[Request, Result](request, asyncio.get_running_loop().create_future())
        self._waiting.append(own)
        if not self._executing:
            self._appoint(own)
        try:
            if await own.woken:
                await self._clock.sleep(self._window)
                await self._execute_waiting()
        finally:
            # A caller that is cancelled takes its request back, and leaves those of others to the next one.
            if own in self._waiting:
                self._waiting.remove(own)
            if own.was_appointed():
                # Not one that is cancelled, and has not run since.
                self._appoint(next((waiting for waiting in self._waiting if not waiting.woken.done()), None))
        if own.error is not None:
            raise own.error
        return own.results[0]

    def _appoint(self, waiting: _Waiting[Request, Result] | None) -> None:
        self._executing = waiting is not None
        if waiting is not None:
            waiting.wake(executes=True)

    async def _execute_waiting(self) -> None:
        batch = self._waiting[: self._max_size]
        results: Sequence[Result] = ()
        error: Exception | None = None
        try:
            results = await self._execute([waiting.request for waiting in batch])
        except Exception as raised:  # noqa: BLE001 raised to each caller
            error = raised
        executed = set(batch)
        self._waiting = [waiting for waiting in self._waiting if waiting not in executed]
        for number, waiting in enumerate(batch):
            waiting.results, waiting.error = results[number : number + 1], error
            waiting.wake(executes=False)
