"""Throttles password guessing: counts failed attempts per client address and user name, in bounded memory."""

from collections import OrderedDict
from dataclasses import dataclass

from pipecd.clock import Clock
from pipecd.controlplane.settings import AuthSettings


@dataclass(frozen=True)
class _Failures:
    count: int
    since: float


class Throttle:
    def __init__(self, clock: Clock, settings: AuthSettings) -> None:
        self._clock, self._settings = clock, settings
        self._failures: OrderedDict[tuple[str, ...], _Failures] = OrderedDict()

    def wait(self, client: tuple[str, ...]) -> float:
        """Seconds until `client` may try again; 0 means now."""
        failures = self._failures.get(client)
        if failures is None or failures.count < self._settings.max_failures:
            return 0.0
        return max(0.0, failures.since + self._settings.failure_window - self._clock.monotonic())

    def record_failure(self, client: tuple[str, ...]) -> None:
        now = self._clock.monotonic()
        failures = self._failures.pop(client, None)
        if failures is None or now - failures.since > self._settings.failure_window:
            failures = _Failures(0, now)
        self._failures[client] = _Failures(failures.count + 1, failures.since)
        while len(self._failures) > self._settings.max_clients:
            self._failures.popitem(last=False)

    def record_success(self, client: tuple[str, ...]) -> None:
        self._failures.pop(client, None)
