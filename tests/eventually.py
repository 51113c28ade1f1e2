"""Waiting for what other processes bring about: looks again until it holds, under a bound."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Result = TypeVar("Result")


async def eventually(look: Callable[[], Awaitable[Result]], within: float = 120.0) -> Result:
    """The first answer of `look` that is true. Its last AssertionError, or what it saw, tells the failure."""
    until = time.monotonic() + within
    while True:
        why: AssertionError | None = None
        seen: Result | None = None
        try:
            seen = await look()
        except AssertionError as error:
            why = error
        if seen:
            return seen
        if time.monotonic() > until:
            raise AssertionError(f"not within {within:g} s: {why or seen!r}") from why
        await asyncio.sleep(0.05)
