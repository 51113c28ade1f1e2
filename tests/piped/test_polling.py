"""Polling while there is no stream of changes, the agent's health, and what the trigger keeps."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from pipecd.errors import ConfigError, Temporary
from pipecd.model.notification import NotificationEvent
from pipecd.piped.admin import health_check
from pipecd.piped.loop import Wake
from pipecd.piped.self_healing import SelfHealing
from pipecd.piped.session.lease import Leadership, Lease
from pipecd.piped.session.polling import Wakes, poll
from pipecd.piped.session.report import Reporter
from pipecd.piped.session.sync_states import SyncStates
from pipecd.piped.session.view import View
from pipecd.piped.settings import PollingSettings
from pipecd.piped.trigger.config_status import ConfigStatus
from pipecd.piped.trigger.create import DeploymentCreator
from pipecd.piped.trigger.loop import TriggerLoop
from pipecd.schema.agent.pipeds_pb2 import ReportStatRequest
from pipecd.secrets import Redactor
from tests.model.samples import deployment
from tests.piped.memory import Calls, memory_client
from tests.stages.stage_runner import application
from tests.virtual_clock import VirtualClock

UNREACHABLE_TIMEOUT = 180.0


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@asynccontextmanager
async def polling(clock: VirtualClock, lease: Lease, calls: Calls) -> AsyncIterator[None]:
    view, leadership = View(memory_client(calls, clock), clock), Leadership()
    leadership.set_lease(lease)
    task = asyncio.create_task(poll(view, leadership, Wakes(Wake()), clock, PollingSettings()))
    try:
        yield
    finally:
        task.cancel()


#: Lease, and the least and greatest number of reads of commands and of deployments in an hour.
READS = {
    "with a stream": (Lease.GRANTED, (55, 67), (55, 67)),
    "while another process has the lease": (Lease.HELD, (650, 810), (325, 410)),
    "with a control plane without leases": (Lease.NOT_REQUIRED, (650, 810), (325, 410)),
    "while the stream is down": (Lease.UNKNOWN, (650, 810), (325, 410)),
}


@pytest.mark.parametrize("case", READS.values(), ids=READS.keys())
async def test_records_are_read_often_only_without_a_stream(
    clock: VirtualClock, case: tuple[Lease, tuple[int, int], tuple[int, int]]
) -> None:
    lease, commands, deployments = case
    calls = Calls()
    async with polling(clock, lease, calls):
        await clock.advance(3600)
    assert commands[0] <= len(calls.requests("ListUnhandledCommands")) <= commands[1]
    assert deployments[0] <= len(calls.requests("ListNotCompletedDeployments")) <= deployments[1]
    assert 55 <= len(calls.requests("ListApplications")) <= 67


async def test_many_changes_at_once_cost_few_refreshes(clock: VirtualClock) -> None:
    """A refresh takes a second here, and is followed by a pause of two."""
    view, leadership, wakes = View(memory_client(Calls(), clock), clock), Leadership(), Wakes(Wake())
    leadership.set_lease(Lease.GRANTED)
    refreshes: list[float] = []

    async def refresh() -> None:
        refreshes.append(clock.monotonic())
        await clock.sleep(1.0)

    view.refresh_applications = refresh  # type: ignore[method-assign]
    task = asyncio.create_task(poll(view, leadership, wakes, clock, PollingSettings()))
    for _ in range(300):
        wakes.applications()
        await clock.advance(0.1)
    task.cancel()
    assert 9 <= len(refreshes) <= 11


async def test_polling_goes_on_after_an_outage_of_hours(clock: VirtualClock) -> None:
    calls = Calls()
    calls.refuse["*"] = grpc.StatusCode.UNAVAILABLE
    async with polling(clock, Lease.UNKNOWN, calls):
        await clock.advance(3 * 3600)
        calls.refuse.clear()
        before = len(calls.requests("ListUnhandledCommands"))
        await clock.advance(60)
        assert len(calls.requests("ListUnhandledCommands")) >= before + 10


async def test_an_idle_agent_is_unhealthy_after_three_minutes_without_the_control_plane(
    clock: VirtualClock,
) -> None:
    calls = Calls()
    active: set[str] = set()
    client = memory_client(calls, clock)
    check = health_check(client, active, clock, UNREACHABLE_TIMEOUT)
    await clock.advance(UNREACHABLE_TIMEOUT - 1)
    assert not await check(), "it is starting"
    await client.call(client.piped.ReportStat, ReportStatRequest())
    await clock.advance(UNREACHABLE_TIMEOUT - 1)
    calls.refuse["*"] = grpc.StatusCode.UNAVAILABLE
    with pytest.raises(Temporary):
        await client.call(client.piped.ReportStat, ReportStatRequest())
    assert not await check()
    await clock.advance(1)
    assert await check() == "the control plane at control-plane.example:443 has been unreachable for 180 s"
    active.add("d")
    assert not await check(), "a health check would interrupt the stage"
    active.clear()
    calls.refuse.clear()
    await client.call(client.piped.ReportStat, ReportStatRequest())
    assert not await check()


async def test_the_trigger_keeps_nothing_of_removed_applications(clock: VirtualClock) -> None:
    calls, leadership = Calls(), Leadership()
    leadership.set_lease(Lease.GRANTED)
    client = memory_client(calls, clock)
    view, reporter = View(client, clock), Reporter(client, Redactor(), clock)
    for event in view._loaded.values():
        event.set()
    events: list[NotificationEvent] = []
    config_status = ConfigStatus(SyncStates(reporter, clock, events.append), view, clock, events.append)
    heads: Any = SimpleNamespace(repositories={})
    trigger = TriggerLoop(
        view,
        leadership,
        reporter,
        heads,
        DeploymentCreator(reporter, view, clock, events.append),
        config_status,
        SelfHealing(clock),
        clock,
        events.append,
        60.0,
    )
    removed = application(deployment())
    await config_status.report_invalid(removed, ConfigError("wrong"), None)
    assert config_status._reported
    trigger._decided_commits[removed.id] = trigger._latest_deployments[removed.id] = "x"
    task = asyncio.create_task(trigger.run())
    await clock.advance(1)
    task.cancel()
    assert not trigger._decided_commits
    assert not trigger._latest_deployments
    assert not config_status._reported
