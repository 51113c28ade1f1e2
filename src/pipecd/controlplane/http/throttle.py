"""Throttles password guessing: counts failed attempts per client address and user name, in bounded memory."""

from dataclasses import dataclass

from pipecd.bounded_dict import BoundedDict
from pipecd.clock import Clock
from pipecd.controlplane.settings import AuthSettings


@dataclass(frozen=True)
class _Failures:
    count: int
    since: float


class Throttle:
    def __init__(self, clock: Clock, settings: AuthSettings) -> None:
        self._clock, self._settings = clock, settings
        self._failures = BoundedDict[tuple[str, ...], _Failures](settings.max_clients)

    def begin(self, client: tuple[str, ...]) -> float:
        """Begin an attempt. Returns the seconds until `client` may try again; 0 means that it may try now.

        The attempt counts as failed until `record_success`, so that many attempts at once count too.
        """
        now, settings = self._clock.monotonic(), self._settings
        failures = self._failures.get(client)
        if failures is None or now - failures.since >= settings.failure_window:
            failures = _Failures(0, now)
        if failures.count >= settings.max_failures:
            return failures.since + settings.failure_window - now
        self._failures[client] = _Failures(failures.count + 1, failures.since)
        return 0.0

    def withdraw(self, client: tuple[str, ...]) -> None:
        """An attempt that began could not be evaluated; it does not count."""
        if failures := self._failures.get(client):
            self._failures[client] = _Failures(failures.count - 1, failures.since)

    def record_success(self, client: tuple[str, ...]) -> None:
        self._failures.pop(client, None)
