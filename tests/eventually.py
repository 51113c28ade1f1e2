"""Polls for a condition with a timeout, for effects of other processes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Result = TypeVar("Result")

#: Between two checks, in seconds; and as a share of the time that has passed, so that long waits cost little.
_MIN_INTERVAL, _MAX_INTERVAL, _SHARE = 0.05, 0.5, 0.1
#: The same, as a multiple of the time that a check takes, so that checks do not make a busy machine busier.
_REST = 10.0


async def eventually(check: Callable[[], Awaitable[Result]], within: float = 120.0) -> Result:
    """Return the first truthy result of `check`.

    Raises AssertionError after `within` seconds, with the last AssertionError or result of `check`.
    """
    start = time.monotonic()
    while True:
        last_error: AssertionError | None = None
        result: Result | None = None
        began = time.monotonic()
        try:
            result = await check()
        except AssertionError as error:
            last_error = error
        if result:
            return result
        now = time.monotonic()
        elapsed = now - start
        if elapsed > within:
            raise AssertionError(f"not within {within:g} s: {last_error or result!r}") from last_error
        await asyncio.sleep(min(max(_MIN_INTERVAL, _SHARE * elapsed, _REST * (now - began)), _MAX_INTERVAL))
