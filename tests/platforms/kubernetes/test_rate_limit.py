"""The order and the rate of requests to one cluster, in virtual time."""

import asyncio

import pytest

from pipecd.platforms.kubernetes.cluster.rate_limit import MAX_PAUSE, Priority, RateLimit, requests_with
from tests.virtual_clock import VirtualClock


class Requests:
    """Requests that wait for their turn, and when each was sent."""

    def __init__(self, clock: VirtualClock, rate_limit: RateLimit) -> None:
        self._clock, self._rate_limit = clock, rate_limit
        self.sent: list[tuple[str, float]] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def send(self, name: str, priority: Priority = Priority.STAGE) -> None:
        async def wait() -> None:
            await self._rate_limit.wait()
            self.sent.append((name, round(self._clock.monotonic(), 3)))

        with requests_with(priority):
            self.tasks[name] = asyncio.create_task(wait())

    @property
    def order(self) -> list[str]:
        return [name for name, _ in self.sent]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


async def test_requests_are_limited_per_second(clock: VirtualClock) -> None:
    requests = Requests(clock, RateLimit(clock, per_second=2.0, burst=3))
    for name in "abcdefg":
        requests.send(name)
    await clock.advance(1.9)
    assert requests.order == list("abcdef")
    await clock.advance(0.1)
    assert requests.sent[3:] == [("d", 0.5), ("e", 1.0), ("f", 1.5), ("g", 2.0)]


async def test_stages_come_before_live_states_and_these_before_drift(clock: VirtualClock) -> None:
    requests = Requests(clock, RateLimit(clock, per_second=1.0, burst=1))
    for name, priority in {
        "burst": Priority.DRIFT,
        "drift 1": Priority.DRIFT,
        "drift 2": Priority.DRIFT,
        "live": Priority.LIVE_STATE,
        "preview": Priority.PREVIEW,
    }.items():
        requests.send(name, priority)
    await clock.advance(0.5)
    requests.send("stage")
    await clock.advance(10)
    assert requests.sent == [
        ("burst", 0.0),
        ("stage", 1.0),
        ("live", 2.0),
        ("preview", 3.0),
        ("drift 1", 4.0),
        ("drift 2", 5.0),
    ]


async def test_a_cancelled_request_gives_its_turn_away(clock: VirtualClock) -> None:
    requests = Requests(clock, RateLimit(clock, per_second=1.0, burst=1))
    for name in "abcd":
        requests.send(name)
    await clock.advance(0.1)
    requests.tasks["b"].cancel()
    requests.tasks["c"].cancel()
    await clock.advance(0.9)
    assert requests.sent == [("a", 0.0), ("d", 1.0)]


async def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(clock: VirtualClock) -> None:
    rate_limit = RateLimit(clock, per_second=10.0, burst=100)
    requests = Requests(clock, rate_limit)
    requests.send("a")
    await clock.advance(0)
    rate_limit.pause(3.0)
    for name in "bcd":
        requests.send(name)
    await clock.advance(1.0)
    rate_limit.pause(1.0)
    await clock.advance(10)
    # Without a burst, which would make the server busy again.
    assert requests.sent == [("a", 0.0), ("b", 3.1), ("c", 3.2), ("d", 3.3)]


async def test_a_server_cannot_stop_the_agent_indefinitely(clock: VirtualClock) -> None:
    rate_limit = RateLimit(clock, per_second=1.0, burst=1)
    requests = Requests(clock, rate_limit)
    rate_limit.pause(float("inf"))
    requests.send("a")
    await clock.advance(MAX_PAUSE + 1)
    assert requests.order == ["a"]
