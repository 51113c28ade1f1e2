"""Runs slow hash functions in threads of their own, and so many at a time as there are threads.

They cost CPU time by design, and anyone can cause them, by a sign-in or with a wrong key. In the threads
that everything else shares, they would delay reads of files and large requests. Used by `passwords` and
`keys`.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

from pipecd.errors import Temporary

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


class SlowHashes:
    """`name` is that of the threads. Of more than `max_waiting` calls at the same time, some are refused."""

    def __init__(self, name: str, *, threads: int, max_waiting: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._max, self._count = threads + max_waiting, 0

    async def run(self, function: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        """Raises Temporary if too many wait. A caller that is cancelled while it waits costs nothing."""
        if self._count >= self._max:
            raise Temporary(f"{self._count} keys or passwords are being checked; try again in a moment")
        self._count += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        finally:
            self._count -= 1
