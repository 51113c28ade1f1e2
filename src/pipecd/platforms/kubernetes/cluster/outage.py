"""Fails requests at once while the API server of a cluster is unavailable.

Without that, each request would wait for its timeout, and the applications of one cluster would occupy the
agent's loops, which also check those of others. One request at a time tries whether the server is back.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pipecd.clock import Clock
from pipecd.errors import Temporary

#: The next attempt follows after twice the time that the last one took, within these limits (seconds): soon
#: where a connection is refused, and late where packets are lost.
MIN_DELAY, MAX_DELAY = 1.0, 60.0


class Outage:
    """Whether the API server could be reached."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: Why the last attempt failed; empty if it did not.
        self._reason = ""
        self._began_at = self._failed_at = self._next_at = 0.0
        self._is_trying = False

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Around a request. Raises Temporary if the server is unavailable, and it is not time to try again.

        `name` is that of the server, for messages.
        """
        now = self._clock.monotonic()
        if not self._reason:
            yield
            return
        if self._is_trying or now < self._next_at:
            raise Temporary(
                f"the API server {name} cannot be reached: {self._reason} (for {now - self._began_at:.0f} s)"
            )
        self._is_trying = True
        try:
            yield
        finally:
            self._is_trying = False

    def succeeded(self) -> None:
        """The server answered, whatever it said."""
        self._reason = ""

    def failed(self, reason: str, *, sent_at: float) -> None:
        """A request that was sent at `sent_at` (monotonic seconds) got no answer."""
        now = self._clock.monotonic()
        if not self._reason:
            self._began_at = now
        elif sent_at <= self._failed_at:
            # It was under way when the first one failed.
            return
        self._reason, self._failed_at = reason, now
        self._next_at = now + min(max(2 * (now - sent_at), MIN_DELAY), MAX_DELAY)
