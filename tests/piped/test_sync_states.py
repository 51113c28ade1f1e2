"""An application is notified about when it becomes synced or out of sync, not at every report."""

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from pipecd.clock import SYSTEM_CLOCK
from pipecd.model.application import Application
from pipecd.model.notification import NotificationEvent
from pipecd.model.status import SyncStatus
from pipecd.piped.session.report import Reporter
from pipecd.piped.session.sync_states import SyncStates
from tests.model.samples import application

UNKNOWN, SYNCED, DEPLOYING = SyncStatus.UNKNOWN, SyncStatus.SYNCED, SyncStatus.DEPLOYING
OUT_OF_SYNC, INVALID = SyncStatus.OUT_OF_SYNC, SyncStatus.INVALID_CONFIG
IN, OUT = "APPLICATION_SYNCED", "APPLICATION_OUT_OF_SYNC"


@dataclass
class Records:
    """Stores the states as the control plane does (in place of a `Reporter`)."""

    stored: dict[str, tuple[SyncStatus, int]] = field(default_factory=dict)

    async def report_sync_state(self, application_id: str, status: SyncStatus, **fields: Any) -> None:
        self.stored[application_id] = (status, fields["at"])

    def application(self) -> Application:
        status, at = self.stored.get("a", (UNKNOWN, 0))
        return replace(application(), sync_status=status, sync_reported_at=at)


CASES: dict[str, tuple[SyncStatus, list[SyncStatus], list[str]]] = {
    "the first deployment": (UNKNOWN, [DEPLOYING, SYNCED], [IN]),
    "a deployment of a synced application": (SYNCED, [DEPLOYING, SYNCED], []),
    "a failed deployment": (SYNCED, [DEPLOYING, OUT_OF_SYNC], [OUT]),
    "drift and its correction": (SYNCED, [OUT_OF_SYNC, OUT_OF_SYNC, DEPLOYING, SYNCED], [OUT, IN]),
    "an invalid file and its correction": (SYNCED, [INVALID, SYNCED], []),
    "an invalid file, and a deployment that corrects drift": (
        OUT_OF_SYNC,
        [INVALID, OUT_OF_SYNC, SYNCED],
        [IN],
    ),
    "a comparison that fails for a while": (SYNCED, [UNKNOWN, SYNCED], []),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("current", [True, False], ids=["a current view", "a stale view"])
async def test_changes_between_synced_and_out_of_sync_are_notified(
    case: tuple[SyncStatus, list[SyncStatus], list[str]], current: bool
) -> None:
    recorded, reports, expected = case
    records, events = Records({"a": (recorded, 1)}), list[NotificationEvent]()
    states = SyncStates(cast(Reporter, records), SYSTEM_CLOCK, events.append)
    stale = records.application()
    for status in reports:
        await states.report(records.application() if current else stale, status, short="a sentence")
    assert [event.name for event in events] == expected
    assert records.stored["a"][0] is reports[-1]


async def test_what_another_process_reported_since_counts() -> None:
    records, events = Records(), list[NotificationEvent]()
    states = SyncStates(cast(Reporter, records), SYSTEM_CLOCK, events.append)
    await states.report(records.application(), SYNCED, short="in sync")
    _, at = records.stored["a"]
    records.stored["a"] = (OUT_OF_SYNC, at + 5)
    await states.report(records.application(), SYNCED, short="in sync")
    assert [event.name for event in events] == [IN, IN]
