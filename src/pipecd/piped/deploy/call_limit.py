"""Limits how often a stage is called, so that no stage can keep a core busy. Used by `perform`.

A stage may be called again at once after each of its effects, but not endlessly: a stage that returns `Again`
without a delay by mistake, or for hours, costs one call a second.
"""

import math

from pipecd.clock import Clock
from pipecd.piped.settings import StageSettings


class CallLimit:
    """Allows `max_immediate_calls` in a row, then one every `min_call_interval` seconds."""

    def __init__(self, clock: Clock, settings: StageSettings) -> None:
        self._clock, self._interval = clock, settings.min_call_interval
        self._burst = settings.max_immediate_calls * settings.min_call_interval
        #: When calls that were `min_call_interval` apart would have reached the number of calls so far.
        self._due = -math.inf

    def delay(self) -> float:
        """Counts a call. Returns the least number of seconds until the next one."""
        now = self._clock.monotonic()
        self._due = max(self._due, now) + self._interval
        return max(0.0, self._due - self._burst - now)
