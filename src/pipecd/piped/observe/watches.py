"""Follows platforms in the background, and has the applications that changed checked immediately.

One of the agent's loops. There is one watch for each platform provider of the kinds that have applications,
of the platforms that have the capability. Polling continues: it finds what a watch missed.
"""

import asyncio
from collections.abc import Callable, Set
from functools import partial

import structlog

from pipecd.clock import Clock
from pipecd.errors import PipecdError, Temporary
from pipecd.model.application import Application
from pipecd.piped.loop import Wake, repeat
from pipecd.piped.metrics import INTERNAL_ERRORS
from pipecd.piped.observe.schedule import find_platform
from pipecd.piped.providers import Providers
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.view import View
from pipecd.piped.settings import PlatformWatchSettings
from pipecd.platforms import Watch
from pipecd.retry import Backoff

log = structlog.get_logger()

#: The kind and the name of a platform provider.
Target = tuple[str, str]


class PlatformWatches:
    def __init__(
        self,
        view: View,
        leadership: Leadership,
        providers: Providers,
        on_change: Callable[[Application], None],
        clock: Clock,
        settings: PlatformWatchSettings,
    ) -> None:
        """`on_change` is called with each application that may have changed."""
        self._view, self._leadership, self._providers = view, leadership, providers
        self._on_change, self._clock, self._settings = on_change, clock, settings
        self._running: dict[Target, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Runs until cancelled."""
        await self._view.wait_until_loaded()
        async with asyncio.TaskGroup() as tasks:
            await repeat(
                "platform watches",
                partial(self._update, tasks),
                clock=self._clock,
                interval=self._settings.interval,
                wake=Wake(),
                feeds=(self._view.applications_feed, self._leadership.feed),
            )

    async def _update(self, tasks: asyncio.TaskGroup) -> None:
        """Start and end watches, so that each provider with applications has one."""
        wanted = self._wanted()
        self._running = {target: task for target, task in self._running.items() if not task.done()}
        for target in self._running.keys() - wanted.keys():
            self._running.pop(target).cancel()
        for target in wanted.keys() - self._running.keys():
            name = f"watch {' '.join(target)}"
            self._running[target] = tasks.create_task(self._follow(target, wanted[target]), name=name)

    def _wanted(self) -> dict[Target, Watch]:
        if not self._leadership.lease.may_begin:
            return {}
        wanted: dict[Target, Watch] = {}
        for application in self._view.applications.values():
            platform = None if application.disabled else find_platform(application)
            if platform and platform.watch:
                # Objects of an application may be with any provider of its kind.
                names = {application.platform_provider, *self._providers.names(application.kind)}
                wanted |= {(application.kind, name): platform.watch for name in names}
        return wanted

    async def _follow(self, target: Target, watch: Watch) -> None:
        kind, provider = target
        backoff, failing = Backoff(self._settings.retry), False
        while True:
            started = self._clock.monotonic()
            try:
                await watch(self._providers.config(kind, provider), partial(self._changed, target))
                raise Temporary("the watch ended")
            except PipecdError as error:
                if self._clock.monotonic() - started > self._settings.reset_after:
                    backoff.reset()
                    failing = False
                # One warning per outage; polling continues meanwhile.
                (log.debug if failing else log.warning)(
                    "platform_watch_failed", kind=kind, provider=provider, error=str(error)
                )
            except Exception:
                INTERNAL_ERRORS.labels(loop="platform watches").inc()
                log.exception("unhandled_error", loop="platform watches", kind=kind, provider=provider)
            failing = True
            await self._clock.sleep(max(backoff.next_delay(), self._settings.min_delay))

    def _changed(self, target: Target, application_id: str) -> None:
        """A platform can report only applications of its kind."""
        application = self._view.applications.get(application_id)
        if application is not None and not application.disabled and application.kind == target[0]:
            self._on_change(application)

    @property
    def running(self) -> Set[Target]:
        """The providers that are watched."""
        return self._running.keys()
