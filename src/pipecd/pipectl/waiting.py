"""Polling with an interval and a timeout."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pipecd.clock import Clock
from pipecd.clock import timeout as clock_timeout
from pipecd.errors import Temporary

Result = TypeVar("Result")

#: Minimum timeout of a single check, in seconds; lets the first check finish if `timeout` is shorter.
_MIN_CHECK_TIMEOUT = 1.0


async def poll_until(
    check: Callable[[], Awaitable[Result | None]],
    clock: Clock,
    *,
    interval: float,
    timeout: float,
    what: str,
) -> Result:
    """Call `check` every `interval` seconds and return its first result that is not None.

    Raises Temporary, with the message `what`, after `timeout` seconds. An outage in between is tolerated, so
    that a CI job need not start again. A check that hangs is cancelled at the timeout.
    """
    deadline = clock.monotonic() + timeout
    last_error = ""
    while True:
        try:
            async with clock_timeout(clock, max(deadline - clock.monotonic(), _MIN_CHECK_TIMEOUT)):
                result = await check()
        except TimeoutError:
            result, last_error = None, " (the control plane does not respond)"
        except Temporary as error:
            result, last_error = None, f" ({error})"
        else:
            last_error = ""
        if result is not None:
            return result
        remaining = deadline - clock.monotonic()
        if remaining <= 0:
            raise Temporary(f"{what} within {timeout:g} s{last_error}")
        await clock.sleep(min(interval, remaining))
