"""Short-lived cache of the records that credentials are checked against.

Avoids one database query per RPC. A write by this process invalidates the cache at once; a write by another
replica takes effect when the cached record is too old.
"""

from typing import TypeVar

from google.protobuf.message import Message
from prometheus_client import Counter

from pipecd.clock import Clock
from pipecd.controlplane.settings import AuthSettings
from pipecd.controlplane.store import Store

#: PipeCD's name and labels.
CACHE = Counter("cache_get_operation_total", "Reads of cached credentials.", ["status", "source"])

M = TypeVar("M", bound=Message)


class CredentialCache:
    def __init__(self, store: Store, clock: Clock, settings: AuthSettings) -> None:
        self._store, self._clock, self._settings = store, clock, settings
        #: (kind, id) → monotonic time of the read, the kind's write count before the read, the record.
        self._cached: dict[tuple[type[Message], str], tuple[float, int, Message]] = {}

    async def get(self, kind: type[M], id: str) -> M:
        """The record; callers must not modify it. Raises NotFound."""
        cached = self._cached.get((kind, id))
        writes = self._store.write_counts[kind]
        now = self._clock.monotonic()
        if cached and cached[1] == writes and now - cached[0] < self._settings.credential_max_age:
            CACHE.labels("hit", "inmemory").inc()
            return cached[2]  # type: ignore[return-value]
        CACHE.labels("miss", "inmemory").inc()
        record = (await self._store.get(kind, id)).message
        if len(self._cached) >= self._settings.max_credentials:
            self._cached.clear()
        self._cached[kind, id] = (self._clock.monotonic(), writes, record)
        return record
