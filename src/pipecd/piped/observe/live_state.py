"""Reports the live state of each application, with its health, to the control plane.

One of the agent's loops. `live_state_sender` sends what changed. Idle applications are polled less and less
often, so that they cost few API calls. When a deployment has ended, its application is checked immediately.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

from pipecd.client import Client
from pipecd.clock import Clock
from pipecd.model.application import Application
from pipecd.model.drift import Redact
from pipecd.model.notification import (
    ApplicationBecameHealthy,
    ApplicationBecameUnhealthy,
    ApplicationEvent,
    NotificationEvent,
)
from pipecd.model.resource import Health, Resource, aggregate_health
from pipecd.piped.observe.desired_state import NothingDeclared, ObservationRequests
from pipecd.piped.observe.live_state_sender import LiveStateSender, digest_of
from pipecd.piped.observe.schedule import MAX_TICK, ApplicationScheduler, CheckLimits, find_platform
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.view import View
from pipecd.piped.settings import LiveStateSettings
from pipecd.platforms import Observes

CHECK_LIMITS = CheckLimits(concurrency=4, timeout=60.0, initial_delay=3.0)
#: For platforms that run a program: they must not exhaust the machine or delay other applications.
PROGRAM_CHECK_LIMITS = CheckLimits(concurrency=1, timeout=600.0, initial_delay=30.0)
#: Maximum age of the cached branch head, in seconds; the head only determines which resources to query. After
#: a deployment, which may have changed that, the head is read again.
MAX_HEAD_AGE = 60.0
#: Delay of the check after a deployment's end (seconds).
AFTER_DEPLOYMENT_DELAY = 1.0
#: While the state does not change, each check doubles the interval, up to this multiple of the platform's.
MAX_IDLE_FACTOR = 4
#: A notification names this many unhealthy resources.
MAX_UNHEALTHY_SHOWN = 20

#: Id of the last triggered deployment, and whether a deployment is running.
DeploymentState = tuple[str, bool]


class LiveStateReporter:
    def __init__(
        self,
        view: View,
        leadership: Leadership,
        client: Client,
        observation_requests: ObservationRequests,
        redact: Redact,
        clock: Clock,
        notify: Callable[[NotificationEvent], None],
        settings: LiveStateSettings,
    ) -> None:
        self._view, self._leadership, self._clock = view, leadership, clock
        self._notify, self._settings = notify, settings
        self._observation_requests, self._redact = observation_requests, redact
        self._sender = LiveStateSender(client, clock)
        #: The factor by which the platform's interval is multiplied.
        self._idle_factor: dict[str, int] = {}
        #: The deployment state at the last check.
        self._checked: dict[str, DeploymentState] = {}
        #: The health that was last notified.
        self._health: dict[str, Health] = {}
        self._schedulers = [
            ApplicationScheduler(
                "live state",
                limits,
                partial(self._interval, runs_program),
                self._check,
                self._prune,
                clock,
                min(settings.interval or MAX_TICK, MAX_TICK),
            )
            for runs_program, limits in ((False, CHECK_LIMITS), (True, PROGRAM_CHECK_LIMITS))
        ]

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for scheduler in self._schedulers:
                tasks.create_task(scheduler.run(self._view, self._leadership), name="live state")

    def check_soon(self, application: Application) -> None:
        """Check the application now: its live state may have changed."""
        for scheduler in self._schedulers:
            scheduler.check_soon(application.id)

    def _interval(self, runs_program: bool, application: Application) -> float | None:
        observes = self._observes(application)
        if observes is None or observes.runs_program is not runs_program:
            return None
        application = self._view.with_current_deploying(application)
        if application.deploying:
            self._idle_factor.pop(application.id, None)
        return next_check_delay(
            observes,
            application,
            checked=self._checked.get(application.id),
            idle_factor=self._idle_factor.get(application.id, 1),
        )

    def _observes(self, application: Application) -> Observes | None:
        platform = find_platform(application)
        if platform is None or platform.observes is None:
            return None
        observes = platform.observes
        return replace(
            observes,
            interval=self._settings.interval or observes.interval,
            interval_deploying=self._settings.interval_deploying or observes.interval_deploying,
        )

    async def _check(self, application: Application) -> None:
        previous = self._checked.get(application.id)
        current = _deployment_state(self._view.with_current_deploying(application))
        self._checked[application.id] = current
        max_head_age = MAX_HEAD_AGE if previous == current else 0.0
        async with self._observation_requests.build(application, max_head_age=max_head_age) as observation:
            if observation is None:
                return
            observes = self._observes(application)
            assert observes
            try:
                request = await observation.request()
            except NothingDeclared:
                return
            resources = [
                replace(resource, health_reason=self._redact(resource.health_reason))
                for resource in await observes.load(request)
            ]
        self._notify_health(application, resources)
        await self._send(application, resources)

    def _notify_health(self, application: Application, resources: Sequence[Resource]) -> None:
        # The first observation after a start is a change only if the application is unhealthy.
        previous = self._health.get(application.id, Health.HEALTHY)
        if event := health_event(application, resources, previous=previous, at=int(self._clock.now())):
            self._health[application.id] = aggregate_health(resources)
            self._notify(event)

    async def _send(self, application: Application, resources: Sequence[Resource]) -> None:
        whole = digest_of(application, resources)
        if self._sender.differs(application, whole):
            self._idle_factor.pop(application.id, None)
            self._observation_requests.mark_changed(application)
        else:
            factor = 2 * self._idle_factor.get(application.id, 1)
            self._idle_factor[application.id] = min(MAX_IDLE_FACTOR, factor)
        await self._sender.send(application, resources, whole)

    def _prune(self, applications: Collection[str]) -> None:
        self._observation_requests.prune(applications)
        self._sender.prune(applications)
        self._idle_factor = {key: value for key, value in self._idle_factor.items() if key in applications}
        self._checked = {key: value for key, value in self._checked.items() if key in applications}
        self._health = {key: value for key, value in self._health.items() if key in applications}


def health_event(
    application: Application, resources: Sequence[Resource], *, previous: Health, at: int
) -> ApplicationEvent | None:
    """The event of a change from `previous` to the health of `resources`, observed at `at` (epoch seconds).

    None without a change, or while the health is unknown, for example because a resource is starting.
    """
    health = aggregate_health(resources)
    if health in (Health.UNKNOWN, previous):
        return None
    if health is Health.HEALTHY:
        summary = "All resources are healthy"
        return ApplicationBecameHealthy(at=at, application=application, summary=summary, reason=summary)
    unhealthy = [resource for resource in resources if resource.health is Health.UNHEALTHY]
    reasons = [
        f"{resource.kind} {resource.name}: {resource.health_reason or 'unhealthy'}" for resource in unhealthy
    ]
    if len(reasons) > MAX_UNHEALTHY_SHOWN:
        reasons[MAX_UNHEALTHY_SHOWN:] = [f"and {len(reasons) - MAX_UNHEALTHY_SHOWN} more"]
    return ApplicationBecameUnhealthy(
        at=at,
        application=application,
        summary=f"Unhealthy resources: {len(unhealthy)} of {len(resources)}",
        reason="\n".join(reasons),
    )


def next_check_delay(
    observes: Observes, application: Application, *, checked: DeploymentState | None, idle_factor: int
) -> float:
    """Seconds until the next check. `checked` is the deployment state at the last check, if there was one."""
    if application.deploying:
        return min(observes.interval, observes.interval_deploying)
    if checked not in (None, _deployment_state(application)):
        return AFTER_DEPLOYMENT_DELAY
    return observes.interval * idle_factor


def _deployment_state(application: Application) -> DeploymentState:
    last = application.last_triggered
    return last.deployment_id if last else "", application.deploying
