"""Throttles password guessing: counts failed attempts per client address and user name, in bounded memory."""

from collections import OrderedDict
from dataclasses import dataclass

#: Failed attempts before further ones are rejected.
MAX_FAILURES = 10
#: Seconds after which failures are forgotten.
WINDOW = 300.0
#: Clients that are tracked; the least recently failed one is dropped first.
MAX_CLIENTS = 10_000


@dataclass(frozen=True)
class _Failures:
    count: int
    since: float


class Throttle:
    """`now` is the time of a monotonic clock, in seconds."""

    def __init__(
        self, *, max_failures: int = MAX_FAILURES, window: float = WINDOW, max_clients: int = MAX_CLIENTS
    ) -> None:
        self._max_failures, self._window, self._max_clients = max_failures, window, max_clients
        self._failures: OrderedDict[tuple[str, ...], _Failures] = OrderedDict()

    def wait(self, client: tuple[str, ...], now: float) -> float:
        """Seconds until `client` may try again; 0 means now."""
        failures = self._failures.get(client)
        if failures is None or failures.count < self._max_failures:
            return 0.0
        return max(0.0, failures.since + self._window - now)

    def record_failure(self, client: tuple[str, ...], now: float) -> None:
        failures = self._failures.pop(client, None)
        if failures is None or now - failures.since > self._window:
            failures = _Failures(0, now)
        self._failures[client] = _Failures(failures.count + 1, failures.since)
        while len(self._failures) > self._max_clients:
            self._failures.popitem(last=False)

    def record_success(self, client: tuple[str, ...]) -> None:
        self._failures.pop(client, None)
