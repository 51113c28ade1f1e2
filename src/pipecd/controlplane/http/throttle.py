"""Slows down guessing of passwords: failed attempts are counted per address and name, in bounded memory."""

from collections import OrderedDict
from dataclasses import dataclass

ALLOWED = 10
#: Seconds after which failures are forgotten.
WINDOW = 300.0
REMEMBERED = 10_000


@dataclass(frozen=True)
class _Failures:
    count: int
    since: float


class Throttle:
    """`now` is any monotonic clock's seconds."""

    def __init__(
        self, *, allowed: int = ALLOWED, window: float = WINDOW, remembered: int = REMEMBERED
    ) -> None:
        self._allowed, self._window, self._remembered = allowed, window, remembered
        self._failures: OrderedDict[tuple[str, ...], _Failures] = OrderedDict()

    def wait(self, who: tuple[str, ...], now: float) -> float:
        """Seconds until `who` may try again; 0 when at once."""
        known = self._failures.get(who)
        if known is None or known.count < self._allowed:
            return 0.0
        return max(0.0, known.since + self._window - now)

    def failed(self, who: tuple[str, ...], now: float) -> None:
        known = self._failures.pop(who, None)
        if known is None or now - known.since > self._window:
            known = _Failures(0, now)
        self._failures[who] = _Failures(known.count + 1, known.since)
        while len(self._failures) > self._remembered:
            self._failures.popitem(last=False)

    def succeeded(self, who: tuple[str, ...]) -> None:
        self._failures.pop(who, None)
