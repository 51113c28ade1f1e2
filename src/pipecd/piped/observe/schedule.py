"""Every application in its turn, again and again, a few at a time.

Used by `live` and `drift`, which say how often and what to do. One that fails or hangs keeps no other
waiting.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import structlog

from pipecd.errors import PipecdError
from pipecd.model.application import Application
from pipecd.piped.loop import Wake, keep
from pipecd.piped.metrics import FAULTS
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.view import View
from pipecd.platforms import Platform, platform

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Pace:
    """`few` at a time; each within `limit` seconds; the first look within `soon` seconds."""

    few: int
    limit: float
    soon: float


class Rounds:
    def __init__(
        self,
        name: str,
        pace: Pace,
        interval: Callable[[Application], float | None],
        look: Callable[[Application], Awaitable[None]],
    ) -> None:
        """`interval` says how often an application is looked at; None: not now."""
        self._name, self._pace, self._interval, self._look = name, pace, interval, look
        self._due: dict[str, float] = {}
        self._at_work: set[str] = set()
        self._failing: set[str] = set()
        self._wake = Wake()

    async def follow(self, view: View, leadership: Leadership) -> None:
        """For ever."""
        await view.loaded()
        async with asyncio.TaskGroup() as tasks:
            await keep(
                self._name,
                partial(self._begin, tasks, view, leadership),
                interval=1.0,
                wake=self._wake,
                feeds=(view.deployments_feed, leadership.feed),
            )

    async def _begin(self, tasks: asyncio.TaskGroup, view: View, leadership: Leadership) -> None:
        if not leadership.lease.may_begin:
            return
        applications = view.applications
        self._plan(applications)
        now = time.monotonic()
        waiting = sorted((at, key) for key, at in self._due.items() if at <= now and key not in self._at_work)
        for _, key in waiting[: self._pace.few - len(self._at_work)]:
            self._at_work.add(key)
            task = tasks.create_task(self._once(applications[key]), name=f"{self._name} {key}")
            task.add_done_callback(partial(self._left, key))

    def _plan(self, applications: Mapping[str, Application]) -> None:
        now, due = time.monotonic(), {}
        for key, application in applications.items():
            interval = None if application.disabled else self._interval(application)
            if interval is not None:
                # Many applications that are found at once must not be looked at in one go.
                soon = random.uniform(0.0, min(interval, self._pace.soon))
                due[key] = min(self._due.get(key, now + soon), now + interval * 1.1)
        self._due = due
        self._failing &= applications.keys()

    def _left(self, key: str, _: asyncio.Task[None]) -> None:
        self._at_work.discard(key)
        self._wake()

    async def _once(self, application: Application) -> None:
        try:
            async with asyncio.timeout(self._pace.limit):
                await self._look(application)
        except (PipecdError, TimeoutError) as error:
            # One line an outage, however many looks it lasts.
            say = log.debug if application.id in self._failing else log.warning
            why = str(error) or f"it took longer than {self._pace.limit:g} s"
            say("not looked at", loop=self._name, application=application.name, why=why)
            self._failing.add(application.id)
        except Exception:
            FAULTS.labels(loop=self._name).inc()
            log.exception("fault", loop=self._name, application=application.name)
        else:
            self._failing.discard(application.id)
        if application.id in self._due:
            interval = self._interval(application) or self._pace.soon
            self._due[application.id] = time.monotonic() + interval * random.uniform(0.9, 1.1)


def installed_platform(kind: str) -> Platform | None:
    """The platform; None where none is installed, of which deployments speak."""
    try:
        return platform(kind)
    except PipecdError:
        return None
