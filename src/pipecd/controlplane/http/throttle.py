"""Throttles password guessing, by client, by address and by account, over all servers of a database.

A sign-in counts as failed from its beginning until it succeeds, so that many at the same time count too.
Three counters are checked:

- one for each client and account: a browser that has signed in as this user before (`known_browser`), or else
  an address;
- one for each address, over all accounts;
- one for each account, over all addresses. Beyond some failures it lets one sign-in begin after a delay that
  doubles up to a minute. Known browsers are not counted and not delayed, so that others cannot lock out a
  user, and failures are forgotten one by one.

A sign-in that may begin writes its counters once, which costs little compared with checking its password. One
that may not writes nothing, and a server remembers for a second which counters refuse.
"""

import asyncio
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from pipecd.bounded_dict import BoundedDict
from pipecd.clock import Clock
from pipecd.controlplane.auth.client_address import client_network
from pipecd.controlplane.settings import AuthSettings
from pipecd.controlplane.store import sign_in_failures
from pipecd.controlplane.store.engine import Database
from pipecd.controlplane.store.sign_in_failures import Counter, Counters


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """`known_browser` is the id of a browser that has signed in as this user before; empty for others."""

    project_id: str
    username: str
    address: str
    known_browser: str = ""


class _Rule(Protocol):
    """What a counter means. `now` is in epoch seconds."""

    def current(self, counter: Counter | None, now: float) -> Counter:
        """The counter as it is now."""

    def wait(self, current: Counter, now: float) -> float:
        """Seconds until an attempt may begin; not positive if it may now."""

    def add(self, current: Counter, now: float) -> Counter:
        """The counter after another failure."""


@dataclass(frozen=True)
class _Limit:
    """After `max_failures`, no attempt begins until `duration` seconds after the first failure."""

    max_failures: int
    duration: float

    def current(self, counter: Counter | None, now: float) -> Counter:
        if counter is None or counter.expires_at <= now:
            return Counter(failures=0.0, at=now, next_at=now, expires_at=now + self.duration)
        return counter

    def wait(self, current: Counter, now: float) -> float:
        if current.failures < self.max_failures:
            return 0.0
        return min(current.expires_at - now, self.duration)

    def add(self, current: Counter, now: float) -> Counter:
        return replace(current, failures=current.failures + 1)


@dataclass(frozen=True)
class _Delay:
    """From `max_failures` on, an attempt waits for 1, 2, 4 … `longest` seconds, in which one is forgotten."""

    max_failures: int
    longest: float

    def current(self, counter: Counter | None, now: float) -> Counter:
        if counter is None:
            return Counter(failures=0.0, at=now, next_at=now, expires_at=now)
        forgotten = max(now - counter.at, 0.0) / self.longest
        return replace(counter, failures=max(counter.failures - forgotten, 0.0), at=now)

    def wait(self, current: Counter, now: float) -> float:
        return min(current.next_at - now, self.longest)

    def add(self, current: Counter, now: float) -> Counter:
        failures = current.failures + 1
        return replace(
            current,
            failures=failures,
            next_at=now + self._delay(failures),
            expires_at=now + failures * self.longest,
        )

    def _delay(self, failures: float) -> float:
        beyond = failures - self.max_failures
        # The exponent is limited, as a float is.
        return min(float(2 ** min(beyond, 32)), self.longest) if beyond >= 0 else 0.0


@dataclass(frozen=True)
class _Refusal:
    """A counter lets no attempt begin before `until`, and is read again at `read_at` (monotonic seconds)."""

    until: float
    read_at: float


class Throttle:
    """`key` is the encryption key, which all servers have."""

    def __init__(self, database: Database, key: bytes, clock: Clock, settings: AuthSettings) -> None:
        self._database, self._clock, self._settings = database, clock, settings
        self._key = hashlib.sha256(b"failed sign-ins\0" + key).digest()
        self._refusals: BoundedDict[str, _Refusal] = BoundedDict(settings.max_refusing_counters)
        #: One attempt at a time uses a connection of the database, however many there are.
        self._turn = asyncio.Lock()

    async def begin(self, attempt: Attempt) -> float:
        """Begin an attempt. Returns the seconds until it may be made; 0 means that it may be made now.

        Raises PipecdError if the database does not respond.
        """
        rules = self._rules(attempt)
        async with self._turn:
            if wait := self._remembered_wait(rules):
                return wait
            now = self._clock.now()

            def add(counters: Counters) -> Counters:
                if _waits(rules, counters, now):
                    return {}
                return {id: rule.add(rule.current(counters.get(id), now), now) for id, rule in rules.items()}

            waits = _waits(rules, await sign_in_failures.change(self._database, list(rules), add), now)
            self._remember(waits)
            return max(waits.values(), default=0.0)

    async def withdraw(self, attempt: Attempt) -> None:
        """An attempt that began could not be evaluated; it does not count. Raises PipecdError."""
        await self._subtract(attempt, forgotten="")

    async def record_success(self, attempt: Attempt) -> None:
        """The client's earlier failures as this user are forgotten; those of others are not.

        Raises PipecdError.
        """
        await self._subtract(attempt, forgotten=self._id(_client(attempt)))

    async def _subtract(self, attempt: Attempt, forgotten: str) -> None:
        rules, now = self._rules(attempt), self._clock.now()

        def subtract(counters: Counters) -> Counters:
            current = {id: rules[id].current(counter, now) for id, counter in counters.items()}
            return {
                id: replace(counter, failures=0.0 if id == forgotten else max(counter.failures - 1, 0.0))
                for id, counter in current.items()
            }

        await sign_in_failures.change(self._database, list(rules), subtract)
        for id in rules:
            self._refusals.pop(id, None)

    def _rules(self, attempt: Attempt) -> Mapping[str, _Rule]:
        settings = self._settings
        rules: dict[tuple[str, ...], _Rule] = {
            _client(attempt): _Limit(settings.max_failures, settings.failure_window),
            ("address", client_network(attempt.address)): _Limit(
                settings.max_failures_of_address, settings.failure_window
            ),
        }
        if not attempt.known_browser:
            account = ("account", attempt.project_id, attempt.username)
            rules[account] = _Delay(settings.max_failures_of_account, settings.max_account_delay)
        return {self._id(names): rule for names, rule in rules.items()}

    def _id(self, names: tuple[str, ...]) -> str:
        """Keyed, so that names cannot be guessed from it: a user may enter a password as user name."""
        return hashlib.blake2b(json.dumps(names).encode(), key=self._key, digest_size=16).hexdigest()

    def _remembered_wait(self, ids: Collection[str]) -> float:
        now = self._clock.monotonic()
        refusals = [refusal for id in ids if (refusal := self._refusals.get(id)) and now < refusal.read_at]
        return max((refusal.until - now for refusal in refusals), default=0.0)

    def _remember(self, waits: Mapping[str, float]) -> None:
        now = self._clock.monotonic()
        for id, wait in waits.items():
            age = min(wait, self._settings.refusing_counter_max_age)
            self._refusals[id] = _Refusal(until=now + wait, read_at=now + age)


def _waits(rules: Mapping[str, _Rule], counters: Counters, now: float) -> Mapping[str, float]:
    """The counters that do not let an attempt begin, and the seconds until they do."""
    waits = {id: rule.wait(rule.current(counters.get(id), now), now) for id, rule in rules.items()}
    return {id: wait for id, wait in waits.items() if wait > 0}


def _client(attempt: Attempt) -> tuple[str, ...]:
    who = (
        ("browser", attempt.known_browser)
        if attempt.known_browser
        else ("at", client_network(attempt.address))
    )
    return (*who, attempt.project_id, attempt.username)
