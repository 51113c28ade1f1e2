"""Runs a check of every application periodically, a few at a time, and early when it may have changed.

Used by `live_state` and `drift`, which provide the interval and the check. A check that fails or hangs does
not delay the others.
"""

import asyncio
import heapq
import math
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Set
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from pipecd.clock import Clock, timeout
from pipecd.errors import PipecdError
from pipecd.model.application import Application
from pipecd.piped.loop import Wake, repeat
from pipecd.piped.metrics import INTERNAL_ERRORS
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.view import View
from pipecd.platforms import Platform
from pipecd.platforms.registry import load_platform

log = structlog.get_logger()


#: However often a platform reports changes, an application is not checked more often (seconds).
MIN_CHECK_INTERVAL = 1.0
#: How often it is determined which applications are due (seconds): a check is late by no more.
MAX_TICK = 1.0
#: Intervals that change for another reason than the application are noticed after this time (seconds).
FULL_UPDATE_INTERVAL = 10.0


@dataclass(frozen=True, kw_only=True)
class CheckLimits:
    """`timeout` of one check and the longest delay of an application's first check, both in seconds."""

    concurrency: int
    timeout: float
    initial_delay: float


class ApplicationScheduler:
    def __init__(
        self,
        name: str,
        limits: CheckLimits,
        interval: Callable[[Application], float | None],
        check: Callable[[Application], Awaitable[None]],
        prune: Callable[[Collection[str]], None],
        clock: Clock,
        tick: float = MAX_TICK,
    ) -> None:
        """`interval` returns the seconds between two checks of an application; None excludes it for now.

        `prune` receives the ids of all applications when one was removed, to drop what is cached for others.
        Which applications are due is determined every `tick` seconds.
        """
        self._tick = tick
        self._name, self._limits, self._interval, self._check = name, limits, interval, check
        self._prune, self._clock = prune, clock
        #: The applications, and those with a running deployment, at the last call of `_update_due`.
        self._applications: Mapping[str, Application] = {}
        self._deploying: Set[str] = frozenset()
        #: When the intervals of all applications are computed again (monotonic seconds).
        self._full_update_at = -math.inf
        #: Whether a check ended after its application was removed, and may have cached a result.
        self._removed_ended = False
        self._due: dict[str, float] = {}
        self._in_progress: set[str] = set()
        self._failing: set[str] = set()
        #: Applications to check again after the check in progress, which may not have seen the change.
        self._again: set[str] = set()
        #: When the last check of each application ended (monotonic seconds).
        self._ended_at: dict[str, float] = {}
        self._wake = Wake()

    def check_soon(self, application_id: str) -> None:
        """Check the application now, or `MIN_CHECK_INTERVAL` after its last check."""
        if application_id in self._in_progress:
            self._again.add(application_id)
        elif application_id in self._due:
            self._due[application_id] = min(self._due[application_id], self._earliest(application_id))
            self._wake()

    def _earliest(self, application_id: str) -> float:
        ended_at = self._ended_at.get(application_id, -math.inf)
        return max(self._clock.monotonic(), ended_at + MIN_CHECK_INTERVAL)

    async def run(self, view: View, leadership: Leadership) -> None:
        """Runs until cancelled."""
        await view.wait_until_loaded()
        async with asyncio.TaskGroup() as tasks:
            await repeat(
                self._name,
                partial(self._start_due, tasks, view, leadership),
                clock=self._clock,
                interval=self._tick,
                wake=self._wake,
                feeds=(view.deployments_feed, leadership.feed),
            )

    async def _start_due(self, tasks: asyncio.TaskGroup, view: View, leadership: Leadership) -> None:
        if not leadership.lease.may_begin:
            return
        self._update_due(view.applications, view.deploying_applications)
        now, free = self._clock.monotonic(), self._limits.concurrency - len(self._in_progress)
        if free <= 0:
            return
        waiting = ((at, key) for key, at in self._due.items() if at <= now and key not in self._in_progress)
        for _, key in heapq.nsmallest(free, waiting):
            self._in_progress.add(key)
            task = tasks.create_task(self._run_check(self._applications[key]), name=f"{self._name} {key}")
            task.add_done_callback(partial(self._on_done, key))

    def _update_due(self, applications: Mapping[str, Application], deploying: Set[str]) -> None:
        """Computes intervals of what changed, not of all applications: each change and check calls this."""
        now = self._clock.monotonic()
        changed: Set[str] = deploying ^ self._deploying
        if applications is not self._applications:
            known = self._applications
            changed |= {key for key, value in applications.items() if known.get(key) is not value}
        if now >= self._full_update_at:
            changed, self._full_update_at = applications.keys(), now + FULL_UPDATE_INTERVAL
        removed = (
            self._applications.keys() - applications.keys() if applications is not self._applications else ()
        )
        for key in removed:
            self._due.pop(key, None)
            self._ended_at.pop(key, None)
            self._failing.discard(key)
        if removed or self._removed_ended:
            self._removed_ended = False
            self._prune(applications.keys())
        self._applications, self._deploying = applications, deploying
        for key in changed & applications.keys():
            self._schedule(applications[key], now)

    def _schedule(self, application: Application, now: float) -> None:
        key = application.id
        interval = None if application.disabled else self._interval(application)
        if interval is None:
            self._due.pop(key, None)
            return
        # Spreads the first checks of applications that were added together.
        delay = random.uniform(0.0, min(interval, self._limits.initial_delay))
        self._due[key] = min(self._due.get(key, now + delay), now + interval * 1.1)

    def _on_done(self, key: str, _: asyncio.Task[None]) -> None:
        self._in_progress.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.check_soon(key)
        self._removed_ended |= key not in self._applications
        self._wake()

    async def _run_check(self, application: Application) -> None:
        self._again.discard(application.id)
        try:
            async with timeout(self._clock, self._limits.timeout):
                await self._check(application)
        except (PipecdError, TimeoutError) as error:
            # One warning per outage; repeated failures are logged at debug level.
            log_failure = log.debug if application.id in self._failing else log.warning
            message = str(error) or f"it took longer than {self._limits.timeout:g} s"
            log_failure("check_failed", loop=self._name, application=application.name, error=message)
            self._failing.add(application.id)
        except Exception:
            INTERNAL_ERRORS.labels(loop=self._name).inc()
            log.exception("unhandled_error", loop=self._name, application=application.name)
        else:
            self._failing.discard(application.id)
        if application.id in self._due:
            interval = self._interval(application) or self._limits.initial_delay
            self._ended_at[application.id] = self._clock.monotonic()
            self._due[application.id] = self._clock.monotonic() + interval * random.uniform(0.9, 1.1)


def find_platform(application: Application) -> Platform[Any] | None:
    """The application's platform, or None if it cannot be loaded; the trigger loop reports that error."""
    try:
        return load_platform(application.kind)
    except PipecdError:
        return None
