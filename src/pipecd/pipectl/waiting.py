"""Waiting for what happens elsewhere: asks at an interval, under a bound, and says what it sees."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pipecd.errors import Temporary

Result = TypeVar("Result")

#: What the first look may take where the bound is shorter (seconds).
_SHORTEST = 1.0


async def wait_for(
    look: Callable[[], Awaitable[Result | None]], *, interval: float, timeout: float, what: str
) -> Result:
    """The first answer of `look` that is not None. Raises Temporary after `timeout` seconds.

    An outage in between is looked past: whoever waits in CI does not want to start again. A look that
    hangs is given up when the time is over.
    """
    until = time.monotonic() + timeout
    trouble = ""
    while True:
        try:
            async with asyncio.timeout(max(until - time.monotonic(), _SHORTEST)):
                found = await look()
        except TimeoutError:
            found, trouble = None, " (the control plane does not answer)"
        except Temporary as error:
            found, trouble = None, f" ({error})"
        else:
            trouble = ""
        if found is not None:
            return found
        left = until - time.monotonic()
        if left <= 0:
            raise Temporary(f"{what} within {timeout:g} s{trouble}")
        await asyncio.sleep(min(interval, left))
