"""The view's loops: slow while the control plane tells us what changed, quick when nobody does."""

import asyncio
from dataclasses import dataclass, field

from pipecd.piped.loop import Wake, every, keep
from pipecd.piped.session.lease import Leadership, Lease
from pipecd.piped.session.view import View

#: How often everything is read again for safety (seconds).
SAFETY_NET = 60.0
#: How often to look where no stream says anything (seconds).
COMMANDS, DEPLOYMENTS = 5.0, 10.0


@dataclass(frozen=True)
class Wakes:
    """What `watch` wakes of the view."""

    applications: Wake
    deployments: Wake = field(default_factory=Wake)
    commands: Wake = field(default_factory=Wake)


async def poll(view: View, leadership: Leadership, wakes: Wakes) -> None:
    """Keep the view fresh, for ever."""
    async with asyncio.TaskGroup() as tasks:
        for name, tick, wake in (
            ("applications", view.refresh_applications, wakes.applications),
            ("deployments", view.refresh_deployments, wakes.deployments),
            ("commands", view.refresh_commands, wakes.commands),
        ):
            tasks.create_task(keep(name, tick, interval=SAFETY_NET, wake=wake), name=f"view {name}")
        tasks.create_task(_when_nobody_tells(leadership, wakes.commands, COMMANDS), name="poll commands")
        tasks.create_task(
            _when_nobody_tells(leadership, wakes.deployments, DEPLOYMENTS), name="poll deployments"
        )


async def _when_nobody_tells(leadership: Leadership, wake: Wake, interval: float) -> None:
    async for _ in every(interval, Wake()):
        if leadership.lease is not Lease.GRANTED:
            wake()
