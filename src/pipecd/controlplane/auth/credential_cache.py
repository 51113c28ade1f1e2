"""Short-lived cache of the records that credentials are checked against.

Avoids one database query per RPC. A write by this process invalidates the cache at once; a write by another
replica takes effect within `MAX_AGE`.
"""

import time
from typing import TypeVar

from google.protobuf.message import Message

from pipecd.controlplane.store import Store

M = TypeVar("M", bound=Message)
#: Maximum age of a cached record, in seconds.
MAX_AGE = 1.0
_MAX_RECORDS = 10_000


class CredentialCache:
    def __init__(self, store: Store) -> None:
        self._store = store
        #: (kind, id) → monotonic time of the read, the kind's write count before the read, the record.
        self._cached: dict[tuple[type[Message], str], tuple[float, int, Message]] = {}

    async def get(self, kind: type[M], id: str) -> M:
        """The record; callers must not modify it. Raises NotFound."""
        cached = self._cached.get((kind, id))
        writes = self._store.write_counts[kind]
        if cached and cached[1] == writes and time.monotonic() - cached[0] < MAX_AGE:
            return cached[2]  # type: ignore[return-value]
        record = (await self._store.get(kind, id)).message
        if len(self._cached) >= _MAX_RECORDS:
            self._cached.clear()
        self._cached[kind, id] = (time.monotonic(), writes, record)
        return record
