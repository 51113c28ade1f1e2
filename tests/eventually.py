"""Polls for a condition with a timeout, for effects of other processes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Result = TypeVar("Result")


async def eventually(check: Callable[[], Awaitable[Result]], within: float = 120.0) -> Result:
    """Return the first truthy result of `check`.

    Raises AssertionError after `within` seconds, with the last AssertionError or result of `check`.
    """
    deadline = time.monotonic() + within
    while True:
        last_error: AssertionError | None = None
        result: Result | None = None
        try:
            result = await check()
        except AssertionError as error:
            last_error = error
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {last_error or result!r}") from last_error
        await asyncio.sleep(0.05)
