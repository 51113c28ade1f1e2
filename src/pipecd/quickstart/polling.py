"""Polls a condition of another program. The caller sets the timeout."""

import asyncio
from collections.abc import Awaitable, Callable


async def poll_until(condition: Callable[[], Awaitable[bool]], interval: float = 0.05) -> None:
    """Return once `condition` is true; check every `interval` seconds."""
    while True:
        if await condition():
            return
        await asyncio.sleep(interval)
