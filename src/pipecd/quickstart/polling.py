"""Waiting for another program, by asking it again and again. The caller bounds the wait."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], Awaitable[bool]], every: float = 0.05) -> None:
    """Until `condition` holds; `every` is seconds."""
    while True:
        if await condition():
            return
        await asyncio.sleep(every)
