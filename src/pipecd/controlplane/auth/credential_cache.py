"""Records that credentials are checked against, remembered for a moment.

A call a millisecond must not be a query a millisecond. What this process wrote counts at once; what another
replica wrote counts after `SECONDS` at the latest.
"""

import time
from typing import TypeVar

from google.protobuf.message import Message

from pipecd.controlplane.store import Store

M = TypeVar("M", bound=Message)
SECONDS = 1.0
_REMEMBERED = 10_000


class Credentials:
    def __init__(self, store: Store) -> None:
        self._store = store
        #: (kind, id) → when it was read, the kind's writes at that time, the record.
        self._known: dict[tuple[type[Message], str], tuple[float, int, Message]] = {}

    async def get(self, kind: type[M], id: str) -> M:
        """The record, for reading only. Raises NotFound."""
        known = self._known.get((kind, id))
        writes = self._store.writes[kind]
        if known and known[1] == writes and time.monotonic() - known[0] < SECONDS:
            return known[2]  # type: ignore[return-value]
        record = (await self._store.get(kind, id)).message
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[kind, id] = (time.monotonic(), writes, record)
        return record
