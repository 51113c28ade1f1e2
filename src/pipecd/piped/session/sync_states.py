"""Reports the sync states of applications, and notifies when one becomes synced or out of sync.

A deployment, and a file that is invalid for a while, are no change between the two.
"""

from collections.abc import Callable, Collection, Mapping

from pipecd.clock import Clock
from pipecd.model.application import Application
from pipecd.model.notification import (
    ApplicationEvent,
    ApplicationSynced,
    ApplicationWentOutOfSync,
    NotificationEvent,
)
from pipecd.model.status import SyncStatus
from pipecd.piped.session.report import Reporter

_EVENTS: Mapping[SyncStatus, type[ApplicationEvent]] = {
    SyncStatus.SYNCED: ApplicationSynced,
    SyncStatus.OUT_OF_SYNC: ApplicationWentOutOfSync,
}


class SyncStates:
    def __init__(self, reporter: Reporter, clock: Clock, notify: Callable[[NotificationEvent], None]) -> None:
        self._reporter, self._clock, self._notify = reporter, clock, notify
        #: By application: whether it was synced or out of sync at the last report, and when (epoch seconds).
        self._known: dict[str, tuple[SyncStatus | None, int]] = {}

    async def report(
        self, application: Application, status: SyncStatus, *, short: str, reason: str = "", head: str = ""
    ) -> None:
        """`short` and `reason` describe the state; `head` is the id of the deployment that determined it."""
        now = int(self._clock.now())
        previous = self._last_known(application)
        await self._reporter.report_sync_state(
            application.id, status, short=short, reason=reason, head=head, at=now
        )
        event_type = _EVENTS.get(status)
        self._known[application.id] = (status if event_type else previous, now)
        if event_type and status is not previous:
            self._notify(event_type(at=now, application=application, summary=short, reason=reason or short))

    def prune(self, applications: Collection[str]) -> None:
        """Forgets applications whose id is not in `applications`."""
        self._known = {key: state for key, state in self._known.items() if key in applications}

    def _last_known(self, application: Application) -> SyncStatus | None:
        """SYNCED or OUT_OF_SYNC, whichever this or another process reported last; None if neither was."""
        status, at = self._known.get(application.id, (None, 0))
        if application.sync_status in _EVENTS and application.sync_reported_at > at:
            return application.sync_status
        return status
