"""Polls a condition of another program. The caller sets the timeout."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from pipecd.errors import Temporary


async def poll_until(condition: Callable[[], Awaitable[bool]], interval: float = 0.05) -> None:
    """Return once `condition` is true; check every `interval` seconds, also while a program starts again."""
    while True:
        with contextlib.suppress(Temporary):
            if await condition():
                return
        await asyncio.sleep(interval)
