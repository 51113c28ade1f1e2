"""Whether this process may act for its piped: what `watch` learned, for those who act.

An older control plane knows no leases; then everybody may act. A stream that broke leaves the question
open: what runs goes on, nothing new begins. Another holder, or a revoked key, ends what runs.
"""

import asyncio
from enum import Enum

from pipecd.piped.loop import Feed


class Lease(Enum):
    #: Not asked yet, or the stream broke.
    UNSURE = "unsure"
    #: The control plane knows no leases.
    FREE = "free"
    GRANTED = "granted"
    #: Another process of this piped is at work.
    HELD = "held by another agent"
    #: The piped was disabled or its key revoked.
    REVOKED = "revoked"

    @property
    def may_begin(self) -> bool:
        return self in (Lease.FREE, Lease.GRANTED)

    @property
    def must_end(self) -> bool:
        return self in (Lease.HELD, Lease.REVOKED)


class Leadership:
    """The lease as it stands. `feed` calls at each change."""

    def __init__(self) -> None:
        self.lease = Lease.UNSURE
        self.feed = Feed()
        self._may_begin = asyncio.Event()

    def now(self, lease: Lease) -> None:
        if lease is self.lease:
            return
        self.lease = lease
        if lease.may_begin:
            self._may_begin.set()
        else:
            self._may_begin.clear()
        self.feed()

    async def may_begin(self) -> None:
        """Return as soon as new work may begin."""
        await self._may_begin.wait()
