"""The loops that refresh the view: slow while the control plane streams changes, fast while it does not."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pipecd.clock import Clock
from pipecd.piped.loop import Wake, every, repeat
from pipecd.piped.session.lease import Leadership, Lease
from pipecd.piped.session.view import View
from pipecd.piped.settings import PollingSettings


@dataclass(frozen=True)
class Wakes:
    """The wakes of the view's loops; `watch` triggers them."""

    applications: Wake
    deployments: Wake = field(default_factory=Wake)
    commands: Wake = field(default_factory=Wake)


async def poll(
    view: View, leadership: Leadership, wakes: Wakes, clock: Clock, settings: PollingSettings
) -> None:
    """Keep the view up to date. Runs until cancelled."""
    async with asyncio.TaskGroup() as tasks:
        for name, tick, wake in (
            ("applications", view.refresh_applications, wakes.applications),
            ("deployments", view.refresh_deployments, wakes.deployments),
            ("commands", view.refresh_commands, wakes.commands),
        ):
            refresh = _with_pause(tick, clock, settings)
            tasks.create_task(
                repeat(name, refresh, clock=clock, interval=settings.full_refresh_interval, wake=wake),
                name=f"view {name}",
            )
        tasks.create_task(
            _wake_without_stream(leadership, wakes.commands, clock, settings.commands_interval),
            name="poll commands",
        )
        tasks.create_task(
            _wake_without_stream(leadership, wakes.deployments, clock, settings.deployments_interval),
            name="poll deployments",
        )


def _with_pause(
    tick: Callable[[], Awaitable[None]], clock: Clock, settings: PollingSettings
) -> Callable[[], Awaitable[None]]:
    """`tick`, and then a pause in proportion to the time that it took.

    While many applications are deployed, each of their changes requests a refresh of all records. The pause
    makes one refresh of many requests.
    """

    async def refresh() -> None:
        started = clock.monotonic()
        await tick()
        elapsed = clock.monotonic() - started
        await clock.sleep(min(elapsed * settings.refresh_pause_factor, settings.max_refresh_pause))

    return refresh


async def _wake_without_stream(leadership: Leadership, wake: Wake, clock: Clock, interval: float) -> None:
    async for _ in every(clock, interval, Wake()):
        if leadership.lease is not Lease.GRANTED:
            wake()
