"""Compares what runs with the head of Git, application by application, and tells the control plane.

One of the agent's loops. An application with a deployment under way is left alone: that deployment tells how
it stands. A change of the answer is reported, not its repetition. Where the live state shows what somebody
changed by hand, an answer stands for a while unless Git or what runs is seen to have moved, so that
applications at rest cost few calls.
"""

import time
from functools import cache

from pipecd.errors import ConfigError, UserError
from pipecd.model.application import Application
from pipecd.model.drift import Drift
from pipecd.model.status import SyncStatus
from pipecd.piped.observe.desired_state import Looks
from pipecd.piped.observe.schedule import Pace, Rounds, installed_platform
from pipecd.piped.providers import Providers
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.report import Reports
from pipecd.piped.session.view import View
from pipecd.platforms import Compares, Observes

PACE = Pace(few=2, limit=900.0, soon=30.0)
#: How old what is known of the branch may be (seconds).
AGE = 10.0
#: The console shows a text; of a huge plan its beginning says enough (characters).
MOST_DETAILS = 200_000
#: An answer about an application at rest stands for so many of the platform's intervals.
STANDS = 5
INCOMPARABLE = "What runs could not be compared with Git"

Told = tuple[SyncStatus, str]


class Drifting:
    def __init__(
        self, view: View, leadership: Leadership, reports: Reports, looks: Looks, providers: Providers
    ) -> None:
        self._view, self._leadership, self._reports = view, leadership, reports
        self._looks, self._providers = looks, providers
        #: What this process said last, unless a deployment had its say since.
        self._told: dict[str, Told] = {}
        #: Commit of the last comparison that was made, and when it began.
        self._compared: dict[str, tuple[str, float]] = {}
        self._rounds = Rounds("drift", PACE, self._interval, self._look)

    async def follow(self) -> None:
        """For ever."""
        await self._rounds.follow(self._view, self._leadership)

    def _interval(self, application: Application) -> float | None:
        if self._deploying(application):
            self._told.pop(application.id, None)
            self._compared.pop(application.id, None)
            return None
        found = _compares(application.kind.name)
        return found.drift_interval if found and self._wanted(found, application) else None

    def _wanted(self, found: Compares, application: Application) -> bool:
        try:
            return found.drift_enabled(self._providers.config(application.platform_provider))
        except ConfigError:
            # Deployments tell what is wrong with the provider.
            return False

    async def _look(self, application: Application) -> None:
        self._looks.forget(self._view.applications)
        since = time.monotonic()
        try:
            async with self._looks.at(application, age=AGE) as found:
                if found is None:
                    return
                look, commit = found
                compares = _compares(application.kind.name)
                assert compares
                if self._stands(compares, application, commit):
                    return
                self._compared.pop(application.id, None)
                begun = time.monotonic()
                drift = await compares.drift(look)
        except UserError as error:
            await self._tell(application, since, SyncStatus.UNKNOWN, INCOMPARABLE, f"{INCOMPARABLE}: {error}")
            raise
        self._compared[application.id] = (commit, begun)
        if drift.none:
            await self._tell(application, since, SyncStatus.SYNCED, drift.summary, drift.summary)
        else:
            reason = _reason(drift, commit)
            await self._tell(application, since, SyncStatus.OUT_OF_SYNC, drift.summary, reason)

    def _stands(self, compares: Compares, application: Application, commit: str) -> bool:
        """Whether the last answer is still good, as far as can be known without asking the platform."""
        told, (compared, at) = self._told.get(application.id), self._compared.get(application.id, ("", 0.0))
        if told is None or told[0] is not application.sync_status or compared != commit:
            return False
        watched = isinstance(compares, Observes) and compares.live_firsthand
        moved = self._looks.moved_since(application, at)
        return watched and not moved and time.monotonic() - at < STANDS * compares.drift_interval

    async def _tell(
        self, application: Application, since: float, status: SyncStatus, short: str, reason: str
    ) -> None:
        """What was looked at from `since` on. It is worth nothing once a deployment came in between."""
        current = self._view.applications.get(application.id)
        if current is None or current.deploying or self._view.deployed_since(current.id, since):
            return
        told = (status, reason)
        shown = current.sync_status
        if shown is SyncStatus.INVALID_CONFIG or (self._told.get(application.id) == told and shown is status):
            return
        await self._reports.sync_state(application.id, status, short=short, reason=reason)
        self._told[application.id] = told
        # The trigger goes by what the control plane says.
        self._view.look_again()

    def _deploying(self, application: Application) -> bool:
        return self._view.known(application).deploying


@cache
def _compares(kind: str) -> Compares | None:
    found = installed_platform(kind)
    return found if isinstance(found, Compares) else None


def _reason(drift: Drift, commit: str) -> str:
    details = drift.details
    if len(details) > MOST_DETAILS:
        details = f"{details[:MOST_DETAILS]}\n… and {len(details) - MOST_DETAILS} characters more"
    return f"{drift.summary} at commit {commit[:7]}\n\n{details}"
