"""Periodic checks of applications in virtual time: their order and limits, and what is cached for them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import structlog.testing

from pipecd.errors import Temporary, UserError
from pipecd.model.application import Application, DeploymentReference
from pipecd.model.drift import Drift
from pipecd.model.notification import NotificationEvent
from pipecd.piped.observe.drift import DriftDetector
from pipecd.piped.observe.live_state import LiveStateReporter
from pipecd.piped.observe.schedule import FULL_UPDATE_INTERVAL, ApplicationScheduler, CheckLimits
from pipecd.piped.self_healing import SelfHealing
from pipecd.piped.session.lease import Leadership, Lease
from pipecd.piped.session.report import Reporter
from pipecd.piped.session.sync_states import SyncStates
from pipecd.piped.session.view import View
from pipecd.piped.settings import DriftSettings, LiveStateSettings
from pipecd.secrets import Redactor
from tests.model.samples import deployment
from tests.piped.memory import Calls, memory_client
from tests.platforms.altered import alter_platform
from tests.stages.stage_runner import application
from tests.virtual_clock import VirtualClock

LIMITS = CheckLimits(concurrency=2, timeout=60.0, initial_delay=30.0)
INTERVAL = 300.0


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def apps(*ids: str, kind: str = "LAMBDA") -> dict[str, Application]:
    sample = application(deployment())
    return {key: replace(sample, id=key, name=key, kind=kind) for key in ids}


@dataclass
class Observer:
    """A loaded view of `applications`, and the lease."""

    clock: VirtualClock
    calls: Calls = field(default_factory=Calls)
    leadership: Leadership = field(default_factory=Leadership)

    def __post_init__(self) -> None:
        self.client = memory_client(self.calls, self.clock)
        self.view = View(self.client, self.clock)
        self.leadership.set_lease(Lease.GRANTED)

    @asynccontextmanager
    async def running(self, loop: Awaitable[None], *ids: str) -> AsyncIterator[None]:
        for event in self.view._loaded.values():
            event.set()
        self.view.applications = apps(*ids)
        task = asyncio.ensure_future(loop)
        try:
            yield
        finally:
            task.cancel()


@dataclass
class Checks:
    """Records when each application is checked."""

    clock: VirtualClock
    check: Callable[[Application], Awaitable[None]]
    at: dict[str, list[float]] = field(default_factory=dict)
    running: int = 0
    most_running: int = 0
    kept: set[str] = field(default_factory=set)

    async def __call__(self, app: Application) -> None:
        self.at.setdefault(app.id, []).append(self.clock.monotonic())
        self.kept.add(app.id)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.check(app)
        finally:
            self.running -= 1
            self.kept.add(app.id)

    def prune(self, applications: Collection[str]) -> None:
        self.kept &= set(applications)

    def scheduler(self) -> ApplicationScheduler:
        return ApplicationScheduler("test", LIMITS, lambda _: INTERVAL, self, self.prune, self.clock)


async def test_each_application_is_checked_at_its_interval(clock: VirtualClock) -> None:
    checks, observer = Checks(clock, lambda _: clock.sleep(1)), Observer(clock)
    async with observer.running(checks.scheduler().run(observer.view, observer.leadership), *"abcdef"):
        await clock.advance(LIMITS.initial_delay + 5)
        assert checks.at.keys() == set("abcdef")
        await clock.advance(3600)
    gaps = [after - before for at in checks.at.values() for before, after in pairwise(at)]
    assert INTERVAL * 0.9 <= min(gaps) <= max(gaps) <= INTERVAL * 1.1 + 10


async def test_a_change_of_one_application_costs_nothing_for_the_others(clock: VirtualClock) -> None:
    """With a thousand applications, each change and check would compute a thousand intervals."""
    computed: list[str] = []

    def interval(app: Application) -> float:
        computed.append(app.id)
        return 10_000.0

    checks, observer = Checks(clock, lambda _: clock.sleep(0)), Observer(clock)
    limits = replace(LIMITS, initial_delay=0.0)
    scheduler = ApplicationScheduler("test", limits, interval, checks, checks.prune, clock)
    ids = [f"app-{number}" for number in range(100)]
    view = observer.view
    async with observer.running(scheduler.run(view, observer.leadership), *ids):
        await clock.advance(FULL_UPDATE_INTERVAL * 6)
        assert checks.at.keys() == set(ids)
        # When the next full update is not due for some seconds.
        computed.clear()
        while not computed:
            await clock.advance(1.0)
        computed.clear()
        view.applications = {**view.applications, **apps("app-1")}
        view.applications_feed()
        scheduler.check_soon("app-2")
        view.deploying_applications = {"app-3"}
        view.deployments_feed()
        await clock.advance(2.0)
        assert sorted(computed) == ["app-1", "app-2", "app-3"]


async def test_no_more_checks_than_the_limit_run_at_the_same_time(clock: VirtualClock) -> None:
    checks, observer = Checks(clock, lambda _: clock.sleep(LIMITS.timeout - 1)), Observer(clock)
    async with observer.running(checks.scheduler().run(observer.view, observer.leadership), *"abcdef"):
        # All are due now, and each check takes longer than the delays of the first ones differ.
        await clock.advance(LIMITS.initial_delay + 2)
        assert checks.running == LIMITS.concurrency
        await clock.advance(LIMITS.timeout * 3)
        assert checks.at.keys() == set("abcdef")
    assert checks.most_running == LIMITS.concurrency


async def test_a_check_that_hangs_is_cancelled_and_delays_no_other(clock: VirtualClock) -> None:
    async def check(app: Application) -> None:
        if app.id == "hangs":
            await asyncio.Event().wait()

    checks, observer = Checks(clock, check), Observer(clock)
    scheduler = checks.scheduler()
    with structlog.testing.capture_logs() as logs:
        async with observer.running(scheduler.run(observer.view, observer.leadership), "hangs", "fine"):
            await clock.advance(3600)
    assert len(checks.at["fine"]) >= 10
    assert len(checks.at["hangs"]) >= 8, "it is checked again after its timeout"
    warnings = [log for log in logs if log["log_level"] == "warning"]
    assert [log["error"] for log in warnings] == ["it took longer than 60 s"], "logged once"


async def test_an_outage_is_logged_once_for_each_application(clock: VirtualClock) -> None:
    async def check(_: Application) -> None:
        raise Temporary("throttled")

    checks, observer = Checks(clock, check), Observer(clock)
    with structlog.testing.capture_logs() as logs:
        async with observer.running(checks.scheduler().run(observer.view, observer.leadership), *"ab"):
            await clock.advance(3600)
    assert sorted(log["application"] for log in logs if log["log_level"] == "warning") == ["a", "b"]
    assert all(10 <= len(at) <= 14 for at in checks.at.values())


async def test_nothing_is_checked_without_the_lease(clock: VirtualClock) -> None:
    checks, observer = Checks(clock, lambda _: clock.sleep(0)), Observer(clock)
    observer.leadership.set_lease(Lease.HELD)
    async with observer.running(checks.scheduler().run(observer.view, observer.leadership), "a"):
        await clock.advance(3600)
        assert not checks.at
        observer.leadership.set_lease(Lease.GRANTED)
        await clock.advance(LIMITS.initial_delay + 2)
        assert checks.at


async def test_what_is_kept_for_a_removed_application_is_dropped(clock: VirtualClock) -> None:
    checks, observer = Checks(clock, lambda _: clock.sleep(0)), Observer(clock)
    async with observer.running(checks.scheduler().run(observer.view, observer.leadership), *"abc"):
        await clock.advance(60)
        assert checks.kept == set("abc")
        observer.view.applications = apps("a")
        await clock.advance(2)
        assert checks.kept == {"a"}
        observer.view.applications = {}
        await clock.advance(2)
        assert not checks.kept


async def test_a_check_that_ends_after_its_application_was_removed_keeps_nothing(
    clock: VirtualClock,
) -> None:
    checks, observer = Checks(clock, lambda _: clock.sleep(50)), Observer(clock)
    async with observer.running(checks.scheduler().run(observer.view, observer.leadership), "a"):
        await clock.advance(LIMITS.initial_delay + 2)
        assert checks.running
        observer.view.applications = {}
        await clock.advance(55)
        assert not checks.running
        assert not checks.kept


class Requests:
    """Observation requests that fail with `error`, or are not possible without an `observation`."""

    def __init__(self, error: Exception | None = None, observation: Any = None) -> None:
        self._error, self._observation = error, observation
        self.pruned: list[set[str]] = []

    @asynccontextmanager
    async def build(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        if self._error:
            raise self._error
        yield self._observation

    def prune(self, applications: Collection[str]) -> None:
        self.pruned.append(set(applications))


def ignore_event(event: NotificationEvent) -> None:
    """No notification is under test."""


class NoProviders:
    def config(self, kind: str, name: str) -> None:
        return None

    def names(self, kind: str) -> list[str]:
        return []


NO_PROVIDERS: Any = NoProviders()


async def test_a_registered_again_application_is_compared_and_reported_anew(clock: VirtualClock) -> None:
    observer = Observer(clock)
    requests: Any = Requests(UserError("no permission"))
    reporter = Reporter(observer.client, Redactor(), clock)
    sync_states = SyncStates(reporter, clock, ignore_event)
    drift = DriftDetector(
        observer.view,
        observer.leadership,
        sync_states,
        requests,
        NO_PROVIDERS,
        SelfHealing(clock),
        clock,
        DriftSettings(),
    )

    def reports() -> list[str]:
        requests = observer.calls.requests("ReportApplicationSyncState")
        return [request.application_id for request in requests]

    async with observer.running(drift.run(), "a"):
        await clock.advance(600)
        assert reports() == ["a"], "reported once"
        observer.view.applications = {}
        await clock.advance(2)
        assert requests.pruned[-1] == set()
        observer.view.applications = apps("a")
        await clock.advance(600)
        assert reports() == ["a", "a"]


async def test_drift_that_comes_back_is_reported_with_who_causes_it(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def detect(_: Any) -> Drift:
        return Drift(summary="Differs from Git: 1 changed", fingerprint="web", changed_by=["kubectl-edit"])

    async def request() -> None:
        return None

    alter_platform(monkeypatch, "LAMBDA", compares={"detect": detect})
    observer = Observer(clock)
    observation = SimpleNamespace(corrects_drift=True, digest=b"d", commit="c" * 40, request=request)
    sync_states = SyncStates(Reporter(observer.client, Redactor(), clock), clock, ignore_event)
    healing = SelfHealing(clock)
    requests: Any = Requests(observation=observation)
    drift = DriftDetector(
        observer.view,
        observer.leadership,
        sync_states,
        requests,
        NO_PROVIDERS,
        healing,
        clock,
        DriftSettings(),
    )
    async with observer.running(drift.run(), "a"):
        for number in range(3):
            last = DeploymentReference(deployment_id=str(number), commit="c")
            observer.view.applications = {"a": replace(apps("a")["a"], last_triggered=last)}
            await clock.advance(70)
    reports = [
        request.state.short_reason for request in observer.calls.requests("ReportApplicationSyncState")
    ]
    assert reports[0] == "Differs from Git: 1 changed"
    assert reports[-1] == f"Differs from Git: 1 changed. {healing.stop_reason('a')}"
    assert "came back 3 times within 10 minutes, changed by kubectl-edit" in reports[-1]


async def test_live_state_keeps_nothing_of_a_removed_application_that_was_never_reported(
    clock: VirtualClock,
) -> None:
    observer = Observer(clock)
    requests: Any = Requests()
    reporter = LiveStateReporter(
        observer.view,
        observer.leadership,
        observer.client,
        requests,
        lambda text: text,
        clock,
        ignore_event,
        LiveStateSettings(),
    )
    async with observer.running(reporter.run(), "a", "b"):
        await clock.advance(60)
        assert reporter._checked.keys() == {"a", "b"}
        observer.view.applications = apps("b")
        await clock.advance(2)
        assert reporter._checked.keys() == {"b"}
        assert requests.pruned[-1] == {"b"}
    assert not observer.calls.requests("ReportApplicationLiveState")
