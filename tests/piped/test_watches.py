"""Platforms that report changes: who is watched, what a failed watch costs, and what is checked."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pipecd.errors import Temporary
from pipecd.model.application import Application
from pipecd.piped.observe.schedule import MIN_CHECK_INTERVAL
from pipecd.piped.observe.watches import PlatformWatches
from pipecd.piped.session.lease import Lease
from pipecd.piped.settings import PlatformWatchSettings
from tests.piped.test_observe import INTERVAL, LIMITS, Checks, NoProviders, Observer, apps
from tests.platforms.altered import alter_platform
from tests.virtual_clock import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@dataclass
class Cloud:
    """A platform that reports changes. `fails` ends a watch as it begins."""

    started: list[float] = field(default_factory=list)
    fails: Exception | None = None
    report: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        self.clock: VirtualClock | None = None

    async def watch(self, provider: Any, changed: Callable[[str], None]) -> None:
        assert self.clock
        self.started.append(self.clock.monotonic())
        if self.fails:
            raise self.fails
        self.report = changed
        try:
            await asyncio.Event().wait()
        finally:
            self.report = None


@dataclass
class Watched:
    observer: Observer
    watches: PlatformWatches
    changed: list[str]

    def running(self, *ids: str) -> AbstractAsyncContextManager[None]:
        run: Awaitable[None] = self.watches.run()
        return self.observer.running(run, *ids)


@pytest.fixture
def cloud(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cloud = Cloud()
    cloud.clock = clock
    alter_platform(monkeypatch, "LAMBDA", watch=cloud.watch)
    return cloud


@pytest.fixture
async def watched(clock: VirtualClock, cloud: Cloud) -> Watched:
    observer, changed = Observer(clock), []

    def on_change(application: Application) -> None:
        changed.append(application.id)

    watches = PlatformWatches(
        observer.view,
        observer.leadership,
        NoProviders(),  # type: ignore[arg-type]
        on_change,
        clock,
        PlatformWatchSettings(),
    )
    return Watched(observer, watches, changed)


async def test_a_change_is_passed_on_for_applications_of_the_watched_platform_alone(
    clock: VirtualClock, cloud: Cloud, watched: Watched
) -> None:
    async with watched.running("a", "b"):
        await clock.advance(1)
        # Some of its objects may be with the watched provider.
        elsewhere = replace(apps("c")["c"], platform_provider="other-cluster")
        terraform = apps("d", kind="TERRAFORM")["d"]
        disabled = replace(apps("e")["e"], disabled=True)
        others = {application.id: application for application in (elsewhere, terraform, disabled)}
        watched.observer.view.applications = {**apps("a", "b"), **others}
        assert cloud.report
        for application_id in ("a", "c", "d", "e", "unknown"):
            cloud.report(application_id)
    assert watched.changed == ["a", "c"]
    assert len(cloud.started) == 1, "one watch for both applications"


async def test_a_provider_is_watched_while_it_has_applications_and_this_process_the_lease(
    clock: VirtualClock, cloud: Cloud, watched: Watched
) -> None:
    view, leadership = watched.observer.view, watched.observer.leadership
    async with watched.running():
        await clock.advance(1)
        assert not watched.watches.running
        view.applications = apps("a")
        view.applications_feed()
        await clock.advance(1)
        assert watched.watches.running == {("LAMBDA", apps("a")["a"].platform_provider)}
        leadership.set_lease(Lease.HELD)
        await clock.advance(1)
        assert not watched.watches.running and cloud.report is None
        leadership.set_lease(Lease.GRANTED)
        await clock.advance(1)
        assert cloud.report is not None
        view.applications = {}
        view.applications_feed()
        await clock.advance(1)
        assert not watched.watches.running and cloud.report is None


@pytest.mark.parametrize("error", [Temporary("no route"), RuntimeError("bug")])
async def test_a_watch_that_fails_is_started_again_less_and_less_often(
    clock: VirtualClock, cloud: Cloud, watched: Watched, error: Exception
) -> None:
    cloud.fails = error
    async with watched.running("a"):
        await clock.advance(600)
        assert 10 <= len(cloud.started) <= 60
        cloud.fails = None
        await clock.advance(61)
        assert cloud.report is not None


async def test_an_application_that_changed_is_checked_at_once(clock: VirtualClock) -> None:
    checks, observer = Checks(clock, lambda _: clock.sleep(0.1)), Observer(clock)
    scheduler = checks.scheduler()
    async with observer.running(scheduler.run(observer.view, observer.leadership), "a", "b"):
        await clock.advance(LIMITS.initial_delay + 5)
        before = clock.monotonic()
        scheduler.check_soon("a")
        scheduler.check_soon("unknown")
        await clock.advance(1)
        assert checks.at["a"][-1] == pytest.approx(before, abs=0.5)
        assert checks.at["b"][-1] < before
        assert clock.monotonic() - before < INTERVAL / 10


async def test_a_change_during_a_check_leads_to_another_check(clock: VirtualClock) -> None:
    checks, observer = Checks(clock, lambda _: clock.sleep(10)), Observer(clock)
    scheduler = checks.scheduler()
    async with observer.running(scheduler.run(observer.view, observer.leadership), "a"):
        await clock.advance(LIMITS.initial_delay)
        assert len(checks.at["a"]) == 1
        while not checks.running:
            scheduler.check_soon("a")
            await clock.advance(2)
        scheduler.check_soon("a")
        number = len(checks.at["a"])
        await clock.advance(25)
        assert len(checks.at["a"]) == number + 1


async def test_a_flood_of_changes_does_not_check_without_pause(clock: VirtualClock) -> None:
    checks, observer = Checks(clock, lambda _: clock.sleep(0.01)), Observer(clock)
    scheduler = checks.scheduler()
    async with observer.running(scheduler.run(observer.view, observer.leadership), "a"):
        await clock.advance(LIMITS.initial_delay + 5)
        before = len(checks.at["a"])
        for _ in range(200):
            scheduler.check_soon("a")
            await clock.advance(0.1)
        assert 5 <= len(checks.at["a"]) - before <= 20 / MIN_CHECK_INTERVAL + 2
