"""Limits how many stages use one platform provider at the same time.

A push may deploy a thousand applications. Without a limit, the manifests of all are in memory at once,
and a deployment that began first ends no sooner than the last.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class CallSlots:
    """One limit for each provider: a cluster that does not answer delays none of another."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_provider: dict[tuple[str, str], asyncio.Semaphore] = {}

    @asynccontextmanager
    async def slot(self, kind: str, provider: str) -> AsyncIterator[None]:
        """Waits until fewer than the limit are inside. `provider` is a name in the agent's configuration."""
        semaphore = self._by_provider.setdefault((kind, provider), asyncio.Semaphore(self._limit))
        async with semaphore:
            yield
