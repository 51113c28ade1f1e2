"""The stream of changes: reconnects for as long as an outage lasts, and never keeps a core busy."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from pipecd.errors import Temporary, Unsupported
from pipecd.piped.session.lease import Leadership, Lease
from pipecd.piped.session.watch import ChangeHandlers, watch
from pipecd.piped.settings import WatchSettings
from pipecd.schema.pipecd.v1.agent_pb2 import AgentChange
from pipecd.schema.pipecd.v1.details_pb2 import ResourceRequest
from tests.virtual_clock import VirtualClock

GRANTED = AgentChange(kind=AgentChange.LEASE_GRANTED)
COMMANDS = AgentChange(kind=AgentChange.COMMANDS)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@dataclass
class Streams:
    """A client whose streams are those of `open`. Records when each was opened."""

    clock: VirtualClock
    open: Callable[[], AsyncGenerator[AgentChange]]
    opened: list[float] = field(default_factory=list)
    agent: Any = field(default_factory=lambda: SimpleNamespace(Watch=None))

    async def stream(self, *_: object) -> AsyncGenerator[AgentChange]:
        self.opened.append(self.clock.monotonic())
        async for change in self.open():
            yield change

    def gaps(self) -> list[float]:
        return [after - before for before, after in zip(self.opened, self.opened[1:], strict=False)]


@dataclass
class Watching:
    streams: Streams
    task: asyncio.Task[None]
    leadership: Leadership
    notified: list[str]


@asynccontextmanager
async def watching(
    clock: VirtualClock, open_stream: Callable[[], AsyncGenerator[AgentChange]]
) -> AsyncIterator[Watching]:
    streams, leadership, notified = Streams(clock, open_stream), Leadership(), []
    names = ("applications", "deployments", "commands", "events")
    handlers = ChangeHandlers(
        **{name: lambda name=name: notified.append(name) for name in names},
        repository=lambda remote: notified.append(f"repository {remote}"),
        resource_request=lambda request: notified.append(f"request {request.id}"),
        request_cancelled=lambda id: notified.append(f"cancelled {id}"),
    )
    client: Any = streams
    task = asyncio.create_task(watch(client, "i", handlers, leadership, clock, WatchSettings()))
    try:
        yield Watching(streams, task, leadership, notified)
    finally:
        task.cancel()


async def unavailable() -> AsyncGenerator[AgentChange]:
    raise Temporary("UNAVAILABLE: the control plane is away")
    yield


async def test_an_outage_of_hours_does_not_end_the_agent(clock: VirtualClock) -> None:
    async with watching(clock, unavailable) as w:
        await clock.advance(6 * 3600)
        assert not w.task.done()
        assert w.leadership.lease is Lease.UNKNOWN
    assert len(w.streams.opened) > 1_024
    assert max(w.streams.gaps()) <= 10, "the agent is back soon after the control plane"
    assert len(w.streams.opened) < 6 * 3600 / 4, "five seconds on average"


async def test_after_a_message_the_first_delay_is_short_again(clock: VirtualClock) -> None:
    outage = 3600.0

    async def works_after_the_outage() -> AsyncGenerator[AgentChange]:
        if clock.monotonic() > outage and len(working.opened) == 0:
            working.opened.append(clock.monotonic())
            yield GRANTED
        raise Temporary("away")

    working = Streams(clock, unavailable)
    async with watching(clock, works_after_the_outage) as w:
        await clock.advance(2 * outage)
        (at,) = working.opened
        after = [opened for opened in w.streams.opened if opened > at]
        assert after[0] - at <= 0.5
        assert "commands" in w.notified


async def test_a_silent_stream_is_a_dead_connection(clock: VirtualClock) -> None:
    async def silent() -> AsyncGenerator[AgentChange]:
        yield GRANTED
        await asyncio.Event().wait()

    async with watching(clock, silent) as w:
        await clock.advance(39)
        assert w.leadership.lease is Lease.GRANTED
        assert len(w.streams.opened) == 1
        await clock.advance(2)
        assert len(w.streams.opened) == 2


async def test_a_stream_that_is_kept_alive_stays_open(clock: VirtualClock) -> None:
    async def alive() -> AsyncGenerator[AgentChange]:
        yield GRANTED
        while True:
            await clock.sleep(15)
            yield COMMANDS

    async with watching(clock, alive) as w:
        await clock.advance(3600)
        assert len(w.streams.opened) == 1
        assert w.notified.count("commands") == 1 + 240


async def test_an_older_control_plane_is_checked_for_an_upgrade_every_five_minutes(
    clock: VirtualClock,
) -> None:
    async def unsupported() -> AsyncGenerator[AgentChange]:
        raise Unsupported("Watch")
        yield

    async with watching(clock, unsupported) as w:
        await clock.advance(3600)
        assert w.leadership.lease is Lease.NOT_REQUIRED
        assert w.streams.opened == [300.0 * number for number in range(13)]


#: What the control plane announced before the stream breaks, and the lease while it is down.
LEASES = {
    "granted": (AgentChange.LEASE_GRANTED, Lease.UNKNOWN),
    "held by another agent": (AgentChange.LEASE_HELD, Lease.HELD),
    "revoked": (AgentChange.REVOKED, Lease.REVOKED),
}


@pytest.mark.parametrize("case", LEASES.values(), ids=LEASES.keys())
async def test_what_must_stop_stays_stopped_while_the_stream_is_down(
    clock: VirtualClock, case: tuple[AgentChange.Kind.ValueType, Lease]
) -> None:
    announced, expected = case
    available = True

    async def breaks_after_a_minute() -> AsyncGenerator[AgentChange]:
        if available:
            yield AgentChange(kind=announced)
            await clock.sleep(30)
        raise Temporary("away")

    async with watching(clock, breaks_after_a_minute) as w:
        await clock.advance(1)
        available = False
        await clock.advance(3600)
        assert w.leadership.lease is expected
        available = True
        await clock.advance(11)
        assert w.leadership.lease.may_begin is (announced == AgentChange.LEASE_GRANTED)


async def test_requests_are_passed_on_and_end_with_the_stream(clock: VirtualClock) -> None:
    async def breaks_off() -> AsyncGenerator[AgentChange]:
        request = ResourceRequest(id="1")
        yield AgentChange(kind=AgentChange.RESOURCE_REQUEST, resource_request=request)
        yield AgentChange(kind=AgentChange.RESOURCE_REQUEST_CANCELLED, id="1")
        raise Temporary("away")

    async with watching(clock, breaks_off) as w:
        await clock.advance(0.1)
        assert w.notified[:3] == ["request 1", "cancelled 1", "cancelled "]
