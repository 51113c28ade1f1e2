"""What users see while a repository cannot be read: the cause on the application, and a rejected sync."""

from collections.abc import Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from pipecd.errors import Temporary
from pipecd.model.application import Application
from pipecd.model.command import SyncApplication
from pipecd.model.notification import NotificationEvent
from pipecd.model.status import SyncStatus
from pipecd.piped.self_healing import SelfHealing
from pipecd.piped.session.lease import Leadership, Lease
from pipecd.piped.session.report import Reporter
from pipecd.piped.session.sync_states import SyncStates
from pipecd.piped.session.view import View
from pipecd.piped.trigger.config_status import UNREADABLE, ConfigStatus
from pipecd.piped.trigger.create import DeploymentCreator
from pipecd.piped.trigger.loop import TriggerLoop
from pipecd.schema.model.application_pb2 import ApplicationSyncStatus
from pipecd.secrets import Redactor
from tests.model.samples import deployment
from tests.piped.memory import Calls, memory_client
from tests.stages.stage_runner import application
from tests.virtual_clock import VirtualClock

APPLICATION = application(deployment())
CAUSE = "ssh: Could not resolve hostname git.example.com; check the host name of the remote"


class UnreachableHeads:
    def __init__(self) -> None:
        self.repositories: dict[str, Any] = {APPLICATION.git_path.repo_id: SimpleNamespace(remote="r")}

    async def load_head(self, repo_id: str, also: Iterable[str] = ()) -> None:
        raise Temporary(CAUSE)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def trigger_loop(calls: Calls, clock: VirtualClock) -> tuple[TriggerLoop, ConfigStatus, View]:
    client, leadership = memory_client(calls, clock), Leadership()
    leadership.set_lease(Lease.GRANTED)
    view, reporter = View(client, clock), Reporter(client, Redactor(), clock)
    view.applications = {APPLICATION.id: APPLICATION}
    view.commands = {"c": SyncApplication(id="c", commander="ada", application_id=APPLICATION.id)}
    events: list[NotificationEvent] = []
    config_status = ConfigStatus(SyncStates(reporter, clock, events.append), view, clock, events.append)
    creator = DeploymentCreator(reporter, view, clock, events.append)
    heads: Any = UnreachableHeads()
    trigger = TriggerLoop(
        view,
        leadership,
        reporter,
        heads,
        creator,
        config_status,
        SelfHealing(clock),
        clock,
        events.append,
        60.0,
    )
    return trigger, config_status, view


async def test_a_short_outage_of_git_changes_no_state_and_rejects_nothing(clock: VirtualClock) -> None:
    calls = Calls()
    trigger, _, _ = trigger_loop(calls, clock)
    for _ in range(3):
        with pytest.raises(Temporary):
            await trigger._check_repository(APPLICATION.git_path.repo_id)
        await clock.advance(15)
    assert not calls.calls


async def test_the_cause_of_a_longer_outage_is_shown_and_rejects_sync_requests(clock: VirtualClock) -> None:
    calls = Calls()
    trigger, _, _ = trigger_loop(calls, clock)
    for _ in range(2):
        with pytest.raises(Temporary):
            await trigger._check_repository(APPLICATION.git_path.repo_id)
        await clock.advance(60)
    (report,) = calls.requests("ReportApplicationSyncState")
    assert report.state.status == ApplicationSyncStatus.UNKNOWN and report.state.short_reason == UNREADABLE
    assert report.state.reason == f"{UNREADABLE}: {CAUSE}"
    (handled,) = calls.requests("ReportCommandHandled")
    assert CAUSE in str(handled)


@pytest.mark.parametrize("status", [SyncStatus.DEPLOYING, SyncStatus.INVALID_CONFIG])
async def test_a_state_that_says_more_is_left(clock: VirtualClock, status: SyncStatus) -> None:
    calls = Calls()
    _, config_status, _ = trigger_loop(calls, clock)
    await config_status.report_unreadable(_with(sync_status=status, sync_reason="x"), Temporary(CAUSE))
    assert not calls.calls


async def test_the_state_is_cleared_when_git_is_readable_again(clock: VirtualClock) -> None:
    """Also by another process than the one that reported it."""
    calls = Calls()
    _, config_status, _ = trigger_loop(calls, clock)
    await config_status.report_valid(_with(sync_status=SyncStatus.UNKNOWN, sync_reason=f"{UNREADABLE}: x"))
    (report,) = calls.requests("ReportApplicationSyncState")
    assert UNREADABLE not in report.state.reason + report.state.short_reason


def _with(**fields: Any) -> Application:
    return replace(APPLICATION, **fields)
