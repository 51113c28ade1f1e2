"""Short-lived cache of the records that credentials are checked against.

Avoids one database query per RPC. A write by this process invalidates the cache at once; a write by another
replica does when the change feed reports it. A record is used for a second after it was read, or after the
last time that the feed reported all changes; and for a minute if only the feed says that it is current, which
does not know of changes by other programs.
"""

from typing import TypeVar

from google.protobuf.message import Message
from prometheus_client import Counter

from pipecd.clock import Clock
from pipecd.controlplane.settings import AuthSettings
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.feed import Change
from pipecd.controlplane.store.kinds import KINDS

#: PipeCD's name and labels.
CACHE = Counter("cache_get_operation_total", "Reads of cached credentials.", ["status", "source"])

M = TypeVar("M", bound=Message)
_KINDS = {kind.name: message for message, kind in KINDS.items()}


class CredentialCache:
    def __init__(self, store: Store, clock: Clock, settings: AuthSettings) -> None:
        self._store, self._clock, self._settings = store, clock, settings
        #: (kind, id) → monotonic time before the read, the kind's write count before the read, the record.
        self._cached: dict[tuple[type[Message], str], tuple[float, int, Message]] = {}
        #: The reads that are in progress; each record's latest one. A change removes it: what is read may be
        #: the record before the change, and is not cached.
        self._reads: dict[tuple[type[Message], str], object] = {}
        store.feed.call_first(self._forget)

    async def get(self, kind: type[M], id: str) -> M:
        """The record; callers must not modify it. Raises NotFound."""
        cached = self._cached.get((kind, id))
        writes = self._store.write_counts[kind]
        now = self._clock.monotonic()
        if cached and cached[1] == writes and self._is_current(cached[0], now):
            CACHE.labels("hit", "inmemory").inc()
            return cached[2]  # type: ignore[return-value]
        CACHE.labels("miss", "inmemory").inc()
        self._reads[kind, id] = this_read = object()
        try:
            record = (await self._store.get(kind, id)).message
        finally:
            is_current = self._reads.get((kind, id)) is this_read
            if is_current:
                del self._reads[kind, id]
        if is_current:
            if len(self._cached) >= self._settings.max_credentials:
                self._cached.clear()
            self._cached[kind, id] = (now, writes, record)
        return record

    def _is_current(self, read_at: float, now: float) -> bool:
        age = now - self._store.feed.notified_until(read_at)
        settings = self._settings
        return age < settings.credential_max_age and now - read_at < settings.credential_read_interval

    def _forget(self, change: Change) -> None:
        if kind := _KINDS.get(change.kind):
            self._reads.pop((kind, change.id), None)
            self._cached.pop((kind, change.id), None)
