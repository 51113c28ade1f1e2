"""Compares the live state of each application with the head of Git and reports drift to the control plane.

One of the agent's loops. An application with a running deployment is skipped: the deployment reports the sync
status. A result is reported when it changes. If the platform's live state shows manual changes, a result is
reused for some time unless Git or the live state changed, so that idle applications cost few API calls.
"""

from collections.abc import Collection
from typing import Any

from pipecd.clock import Clock
from pipecd.errors import ConfigError, PermissionDenied, UserError
from pipecd.model.application import Application
from pipecd.model.drift import Drift
from pipecd.model.status import SyncStatus
from pipecd.piped.observe.desired_state import NothingDeclared, ObservationRequests
from pipecd.piped.observe.schedule import MAX_TICK, ApplicationScheduler, CheckLimits, find_platform
from pipecd.piped.providers import Providers
from pipecd.piped.self_healing import SelfHealing
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.sync_states import SyncStates
from pipecd.piped.session.view import View
from pipecd.piped.settings import DriftSettings
from pipecd.platforms import Compares, Platform

CHECK_LIMITS = CheckLimits(concurrency=2, timeout=900.0, initial_delay=30.0)
#: Maximum age of the cached branch head, in seconds.
MAX_HEAD_AGE = 10.0
#: The console shows the details as text; of a huge plan only the beginning is reported (characters).
MAX_DETAILS_LENGTH = 200_000
COMPARISON_FAILED = "The live state could not be compared with Git"

ReportedState = tuple[SyncStatus, str]


class DriftDetector:
    def __init__(
        self,
        view: View,
        leadership: Leadership,
        sync_states: SyncStates,
        observation_requests: ObservationRequests,
        providers: Providers,
        self_healing: SelfHealing,
        clock: Clock,
        settings: DriftSettings,
    ) -> None:
        self._view, self._leadership, self._sync_states = view, leadership, sync_states
        self._self_healing = self_healing
        self._observation_requests, self._providers = observation_requests, providers
        self._clock, self._settings = clock, settings
        #: What this process last reported, unless a deployment ran since.
        self._reported: dict[str, ReportedState] = {}
        #: Digest of the files at the last completed comparison, and when it began (monotonic seconds).
        self._compared: dict[str, tuple[bytes, float]] = {}
        self._scheduler = ApplicationScheduler(
            "drift",
            CHECK_LIMITS,
            self._interval,
            self._check,
            self._prune,
            clock,
            min(settings.interval or MAX_TICK, MAX_TICK),
        )

    async def run(self) -> None:
        """Runs until cancelled."""
        await self._scheduler.run(self._view, self._leadership)

    def check_soon(self, application: Application) -> None:
        """Compare the application now: its live state may have changed."""
        self._scheduler.check_soon(application.id)

    def _interval(self, application: Application) -> float | None:
        if self._is_deploying(application):
            self._reported.pop(application.id, None)
            self._compared.pop(application.id, None)
            return None
        platform = find_platform(application)
        compares = platform.compares if platform else None
        if compares is None or not self._is_enabled(compares, application):
            return None
        return self._interval_of(compares)

    def _interval_of(self, compares: Compares) -> float:
        return self._settings.interval or compares.interval

    def _prune(self, applications: Collection[str]) -> None:
        self._observation_requests.prune(applications)
        self._reported = {key: state for key, state in self._reported.items() if key in applications}
        self._compared = {key: at for key, at in self._compared.items() if key in applications}
        self._self_healing.prune(applications)

    def _is_enabled(self, compares: Compares, application: Application) -> bool:
        try:
            kind, name = application.kind, application.platform_provider
            return compares.enabled(self._providers.config(kind, name))
        except ConfigError:
            # Deployments report errors in the provider's configuration.
            return False

    async def _check(self, application: Application) -> None:
        since = self._clock.monotonic()
        try:
            async with self._observation_requests.build(
                application, max_head_age=MAX_HEAD_AGE
            ) as observation:
                if observation is None:
                    return
                platform = find_platform(application)
                assert platform and platform.compares
                if self._can_reuse_result(platform, application, observation.digest):
                    return
                self._compared.pop(application.id, None)
                request = await observation.request()
                started_at = self._clock.monotonic()
                drift = await platform.compares.detect(request)
        except NothingDeclared:
            return
        except (UserError, PermissionDenied) as error:
            await self._report(
                application, since, SyncStatus.UNKNOWN, COMPARISON_FAILED, f"{COMPARISON_FAILED}: {error}"
            )
            raise
        assert observation.digest
        self._compared[application.id] = (observation.digest, started_at)
        if not self._is_current(application, since):
            return
        if drift.in_sync:
            self._self_healing.record_in_sync(application)
            await self._report(
                application, since, SyncStatus.SYNCED, drift.summary, _reason(drift.summary, drift)
            )
            return
        current = self._view.applications[application.id]
        stopped = self._self_healing.record_drift(current, drift) if observation.corrects_drift else ""
        short = f"{drift.summary}. {stopped}" if stopped else drift.summary
        reason = _reason(f"{drift.summary} at commit {observation.commit[:7]}", drift, stopped)
        await self._report(application, since, SyncStatus.OUT_OF_SYNC, short, reason)

    def _can_reuse_result(
        self, platform: Platform[Any], application: Application, digest: bytes | None
    ) -> bool:
        """Whether the last result is still valid, judged without calling the platform."""
        reported = self._reported.get(application.id)
        compared, at = self._compared.get(application.id, (b"", 0.0))
        if reported is None or reported[0] is not application.sync_status or compared != digest:
            return False
        if not (platform.compares and platform.observes and platform.observes.shows_manual_changes):
            return False
        changed = self._observation_requests.changed_since(application, at)
        max_age = self._settings.max_reuse_intervals * self._interval_of(platform.compares)
        return not changed and self._clock.monotonic() - at < max_age

    async def _report(
        self, application: Application, since: float, status: SyncStatus, short: str, reason: str
    ) -> None:
        """Report a comparison that began at `since`, unless a deployment ran in the meantime."""
        if not self._is_current(application, since):
            return
        current = self._view.applications[application.id]
        state = (status, reason)
        stored = current.sync_status
        if stored is SyncStatus.INVALID_CONFIG:
            return
        if self._reported.get(application.id) == state and stored is status:
            return
        await self._sync_states.report(current, status, short=short, reason=reason)
        self._reported[application.id] = state
        # The trigger decides from the control plane's record.
        self._view.request_refresh()

    def _is_current(self, application: Application, since: float) -> bool:
        """Whether no deployment ran since `since`, when a comparison began."""
        current = self._view.applications.get(application.id)
        if current is None or current.deploying:
            return False
        return not self._view.had_deployment_since(current.id, since)

    def _is_deploying(self, application: Application) -> bool:
        return self._view.with_current_deploying(application).deploying


def _reason(title: str, drift: Drift, notice: str = "") -> str:
    details = drift.details
    if len(details) > MAX_DETAILS_LENGTH:
        omitted = len(details) - MAX_DETAILS_LENGTH
        details = f"{details[:MAX_DETAILS_LENGTH]}\n… and {omitted} characters more"
    return "\n\n".join(filter(None, [title, notice, details]))
