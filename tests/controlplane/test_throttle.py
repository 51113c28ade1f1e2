"""Password guessing is throttled, by all servers of a database together."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest
import sqlalchemy as sa

from pipecd.controlplane.http.throttle import Attempt, Throttle
from pipecd.controlplane.settings import AuthSettings
from pipecd.controlplane.store import Store, sign_in_failures, tables
from tests.contracts.conftest import migrated_postgres as migrated_postgres
from tests.contracts.conftest import migrated_postgres_url as migrated_postgres_url
from tests.contracts.conftest import postgres_url as postgres_url
from tests.contracts.conftest import store as store
from tests.contracts.conftest import url as url
from tests.controlplane.server_fixture import ENCRYPTION_KEY
from tests.virtual_clock import VirtualClock

COUNTERS = sa.select(tables.sign_in_failures).order_by(tables.sign_in_failures.c.id)


def attempt(address: str = "a", username: str = "ann", browser: str = "") -> Attempt:
    return Attempt(project_id="shop", username=username, address=address, known_browser=browser)


def throttle_of(store: Store, clock: VirtualClock, settings: AuthSettings) -> Throttle:
    return Throttle(store.database, ENCRYPTION_KEY, clock, settings)


async def test_password_guessing_is_throttled(store: Store) -> None:
    clock = VirtualClock()
    throttle = throttle_of(store, clock, AuthSettings(max_failures=3, failure_window=60.0))
    for _ in range(3):
        assert await throttle.begin(attempt()) == 0.0
    await clock.advance(10)
    assert await throttle.begin(attempt()) == 50.0
    assert await throttle.begin(attempt("b")) == 0.0
    await throttle.record_success(attempt())
    for _ in range(3):
        assert await throttle.begin(attempt()) == 0.0
    await clock.advance(61)
    assert await throttle.begin(attempt()) == 0.0, "earlier failures are not counted any more"
    await throttle.withdraw(attempt())
    assert [await throttle.begin(attempt()) for _ in range(4)] == [0.0, 0.0, 0.0, 60.0]


async def test_one_address_cannot_try_many_users(store: Store) -> None:
    throttle = throttle_of(store, VirtualClock(), AuthSettings(max_failures_of_address=20))
    waits = [await throttle.begin(attempt("2001:db8::1", f"user {number}")) for number in range(25)]
    assert waits == [0.0] * 20 + [300.0] * 5
    assert await throttle.begin(attempt("2001:db8::ffff:2", "another")) == 300.0, "the same network of IPv6"
    assert await throttle.begin(attempt("2001:db8:0:1::1", "another")) == 0.0


async def test_many_addresses_cannot_guess_the_password_of_one_user(store: Store) -> None:
    """Each address tries once. After ten attempts there is one a minute, at any number of addresses."""
    clock = VirtualClock()
    throttle = throttle_of(store, clock, AuthSettings())
    admitted = []
    for number in range(360):
        burst = [await throttle.begin(attempt(f"{number}/{index}")) == 0.0 for index in range(20)]
        admitted.append(burst.count(True))
        await clock.advance(10)
    assert admitted[0] == 10
    assert sum(admitted) < 60 + 20, "in an hour"
    # The owner has a browser that is known, and is not delayed at all; nor is another user.
    owner = attempt("home", browser="laptop")
    assert await throttle.begin(owner) == 0.0
    await throttle.record_success(owner)
    assert await throttle.begin(attempt("home", "bob")) == 0.0
    # At another browser the owner waits for a minute at most, and an hour later not at all.
    assert await throttle.begin(attempt("hotel")) <= 60.0
    await clock.advance(3600)
    assert await throttle.begin(attempt("hotel")) == 0.0


async def test_a_known_browser_has_a_limit_of_its_own(store: Store) -> None:
    throttle = throttle_of(store, VirtualClock(), AuthSettings(max_failures=3))
    waits = [await throttle.begin(attempt(str(number), browser="stolen")) for number in range(5)]
    assert waits == [0.0, 0.0, 0.0, 300.0, 300.0], "from any address"


@pytest.fixture
async def servers(url: str) -> AsyncIterator[Sequence[Store]]:
    async with AsyncExitStack() as stack:
        stores = [await Store.open(url) for _ in range(2)]
        for opened in stores:
            stack.push_async_callback(opened.close)
        yield stores


@pytest.mark.parametrize("limit", ["client", "address", "account"])
async def test_guesses_at_two_servers_at_the_same_time_are_counted_together(
    servers: Sequence[Store], limit: str
) -> None:
    settings = AuthSettings(max_failures_of_address=10)
    clock = VirtualClock()
    throttles = [throttle_of(store, clock, settings) for store in servers]

    def guess(number: int) -> Attempt:
        return {
            "client": attempt(),
            "address": attempt(username=f"user {number}"),
            "account": attempt(f"203.0.113.{number}"),
        }[limit]

    waits = await asyncio.gather(*(throttles[number % 2].begin(guess(number)) for number in range(40)))
    assert waits.count(0.0) == 10
    assert [await throttle.begin(guess(50)) for throttle in throttles] == [max(waits)] * 2


async def test_a_success_at_one_server_is_known_at_another_one(servers: Sequence[Store]) -> None:
    clock = VirtualClock()
    here, there = (throttle_of(store, clock, AuthSettings(max_failures=3)) for store in servers)
    assert [await here.begin(attempt()) for _ in range(3)] == [0.0] * 3
    assert await there.begin(attempt()) == 300.0
    await here.record_success(attempt())
    assert await there.begin(attempt()) == 300.0, "it is not read again for a second"
    await clock.advance(1)
    assert await there.begin(attempt()) == 0.0


async def test_failures_of_servers_with_other_clocks_end(servers: Sequence[Store]) -> None:
    """A clock that is ahead causes no wait that is longer than the longest one."""
    settings = AuthSettings(max_failures=3, max_failures_of_account=3)
    ahead = throttle_of(servers[0], VirtualClock(1_700_003_600.0), settings)
    there = throttle_of(servers[1], VirtualClock(1_700_000_000.0), settings)
    assert [await ahead.begin(attempt()) for _ in range(3)] == [0.0] * 3
    assert await there.begin(attempt()) == 300.0
    assert await there.begin(attempt("b")) == 60.0


async def test_refused_guesses_write_nothing(store: Store) -> None:
    clock = VirtualClock()
    throttle = throttle_of(store, clock, AuthSettings(max_failures=3))
    for _ in range(3):
        await throttle.begin(attempt())
    before = await store.database.rows(COUNTERS)
    for _ in range(5):
        await clock.advance(2)
        assert await throttle.begin(attempt()) > 0
    assert await store.database.rows(COUNTERS) == before
    assert len(before) == 3
    assert "ann" not in str(before), "names are not stored"


async def test_counters_that_mean_nothing_any_more_are_deleted(store: Store) -> None:
    clock = VirtualClock()
    throttle = throttle_of(store, clock, AuthSettings(max_failures=3))

    async def prune(max_counters: int = 100) -> int:
        await sign_in_failures.prune(store.database, now=clock.now(), max_counters=max_counters)
        return len(await store.database.rows(COUNTERS))

    for _ in range(3):
        await throttle.begin(attempt())
    await clock.advance(200)
    assert await prune() == 2, "the account's failures are forgotten one a minute"
    assert await throttle.begin(attempt()) == 100.0
    for number in range(20):
        await throttle.begin(attempt(str(number), str(number)))
    assert await prune() == 62
    assert await prune(10) == 10
    await clock.advance(300)
    assert await prune() == 0
