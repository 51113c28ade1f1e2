"""Whether this process may act for its piped. `watch` sets the lease; workers and loops read it.

An older control plane has no leases; then every process may act. After a broken stream the lease is unknown:
what runs continues, nothing new begins. Another holder, or a revoked key, stops what runs.
"""

import asyncio
from enum import Enum

from pipecd.piped.loop import Feed


class Lease(Enum):
    #: Not received yet, or the stream broke.
    UNKNOWN = "unknown"
    #: The control plane has no leases.
    NOT_REQUIRED = "not required"
    GRANTED = "granted"
    #: Another process of this piped holds the lease.
    HELD = "held by another agent"
    #: The piped was disabled or its key revoked.
    REVOKED = "revoked"

    @property
    def may_begin(self) -> bool:
        return self in (Lease.NOT_REQUIRED, Lease.GRANTED)

    @property
    def must_stop(self) -> bool:
        return self in (Lease.HELD, Lease.REVOKED)


class Leadership:
    """The current lease. `feed` is notified of each change."""

    def __init__(self) -> None:
        self.lease = Lease.UNKNOWN
        self.feed = Feed()
        self._may_begin = asyncio.Event()

    def set_lease(self, lease: Lease) -> None:
        if lease is self.lease:
            return
        self.lease = lease
        if lease.may_begin:
            self._may_begin.set()
        else:
            self._may_begin.clear()
        self.feed()

    async def wait_until_may_begin(self) -> None:
        """Return as soon as new work may begin."""
        await self._may_begin.wait()
