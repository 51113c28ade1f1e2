"""Throttles password guessing, by client, by address and by account, in bounded memory of this process.

An attempt counts as failed from its beginning until it succeeds, so that many attempts at once count too:
`begin` does not wait. Three counters are checked:

- one for each client and account: a browser that has signed in as this user before (`known_browser`), or else
  an address;
- one for each address, over all accounts;
- one for each account, over all addresses. Beyond some failures it lets one attempt pass after a delay that
  doubles up to a minute. Known browsers are not counted and not delayed, so that others cannot lock out a
  user, and failures are forgotten one by one.
"""

from dataclasses import dataclass

from pipecd.bounded_dict import BoundedDict
from pipecd.clock import Clock
from pipecd.controlplane.auth.client_address import client_network
from pipecd.controlplane.settings import AuthSettings


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """`known_browser` is the id of a browser that has signed in as this user before; empty for others."""

    project_id: str
    username: str
    address: str
    known_browser: str = ""


@dataclass(frozen=True)
class _Failures:
    count: int
    since: float


@dataclass(frozen=True)
class _Pressure:
    """Failures of an account that are not forgotten at `at`, and when the next attempt may begin."""

    failures: float
    at: float
    next_at: float


class Throttle:
    def __init__(self, clock: Clock, settings: AuthSettings) -> None:
        self._clock, self._settings = clock, settings
        self._failures = BoundedDict[tuple[str, ...], _Failures](settings.max_clients)
        self._accounts = BoundedDict[tuple[str, str], _Pressure](settings.max_clients)

    def begin(self, attempt: Attempt) -> float:
        """Begin an attempt. Returns the seconds until it may be made; 0 means that it may be made now."""
        now = self._clock.monotonic()
        limits = self._limits(attempt)
        wait = max(self._wait(key, limit, now) for key, limit in limits.items())
        if not attempt.known_browser:
            wait = max(wait, self._account(attempt, now).next_at - now)
        if wait > 0:
            return wait
        for key in limits:
            failures = self._count(key, now)
            self._failures[key] = _Failures(failures.count + 1, failures.since)
        if not attempt.known_browser:
            pressure = self._account(attempt, now)
            failures_now = pressure.failures + 1
            self._accounts[_account(attempt)] = _Pressure(failures_now, now, now + self._delay(failures_now))
        return 0.0

    def withdraw(self, attempt: Attempt) -> None:
        """An attempt that began could not be evaluated, or was successful; it does not count."""
        now = self._clock.monotonic()
        for key in self._limits(attempt):
            if failures := self._failures.get(key):
                self._failures[key] = _Failures(max(failures.count - 1, 0), failures.since)
        if not attempt.known_browser and _account(attempt) in self._accounts:
            pressure = self._account(attempt, now)
            self._accounts[_account(attempt)] = _Pressure(
                max(pressure.failures - 1, 0.0), now, pressure.next_at
            )

    def record_success(self, attempt: Attempt) -> None:
        """The client's earlier failures as this user are forgotten; those of others are not."""
        self.withdraw(attempt)
        self._failures.pop(_client(attempt), None)

    def _limits(self, attempt: Attempt) -> dict[tuple[str, ...], int]:
        settings = self._settings
        return {
            _client(attempt): settings.max_failures,
            ("address", client_network(attempt.address)): settings.max_failures_of_address,
        }

    def _count(self, key: tuple[str, ...], now: float) -> _Failures:
        failures = self._failures.get(key)
        if failures is None or now - failures.since >= self._settings.failure_window:
            return _Failures(0, now)
        return failures

    def _wait(self, key: tuple[str, ...], limit: int, now: float) -> float:
        failures = self._count(key, now)
        return failures.since + self._settings.failure_window - now if failures.count >= limit else 0.0

    def _account(self, attempt: Attempt, now: float) -> _Pressure:
        pressure = self._accounts.get(_account(attempt), _Pressure(0.0, now, now))
        forgotten = (now - pressure.at) / self._settings.max_account_delay
        return _Pressure(max(pressure.failures - forgotten, 0.0), now, pressure.next_at)

    def _delay(self, failures: float) -> float:
        """Until the next attempt, in seconds."""
        beyond = failures - self._settings.max_failures_of_account
        if beyond < 0:
            return 0.0
        # The exponent is limited, as a float is.
        return min(float(2 ** min(beyond, 32)), self._settings.max_account_delay)


def _account(attempt: Attempt) -> tuple[str, str]:
    return attempt.project_id, attempt.username


def _client(attempt: Attempt) -> tuple[str, ...]:
    who = (
        ("browser", attempt.known_browser)
        if attempt.known_browser
        else ("at", client_network(attempt.address))
    )
    return (*who, *_account(attempt))
