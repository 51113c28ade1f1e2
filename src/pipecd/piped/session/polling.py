"""The loops that refresh the view: slow while the control plane streams changes, fast while it does not."""

import asyncio
from dataclasses import dataclass, field

from pipecd.piped.loop import Wake, every, repeat
from pipecd.piped.session.lease import Leadership, Lease
from pipecd.piped.session.view import View

#: Interval at which everything is read again, in case a change notification was lost (seconds).
FULL_REFRESH_INTERVAL = 60.0
#: Polling intervals while there is no stream of changes (seconds).
COMMANDS_POLL_INTERVAL, DEPLOYMENTS_POLL_INTERVAL = 5.0, 10.0


@dataclass(frozen=True)
class Wakes:
    """The wakes of the view's loops; `watch` triggers them."""

    applications: Wake
    deployments: Wake = field(default_factory=Wake)
    commands: Wake = field(default_factory=Wake)


async def poll(view: View, leadership: Leadership, wakes: Wakes) -> None:
    """Keep the view up to date. Runs until cancelled."""
    async with asyncio.TaskGroup() as tasks:
        for name, tick, wake in (
            ("applications", view.refresh_applications, wakes.applications),
            ("deployments", view.refresh_deployments, wakes.deployments),
            ("commands", view.refresh_commands, wakes.commands),
        ):
            tasks.create_task(
                repeat(name, tick, interval=FULL_REFRESH_INTERVAL, wake=wake), name=f"view {name}"
            )
        tasks.create_task(
            _wake_without_stream(leadership, wakes.commands, COMMANDS_POLL_INTERVAL), name="poll commands"
        )
        tasks.create_task(
            _wake_without_stream(leadership, wakes.deployments, DEPLOYMENTS_POLL_INTERVAL),
            name="poll deployments",
        )


async def _wake_without_stream(leadership: Leadership, wake: Wake, interval: float) -> None:
    async for _ in every(interval, Wake()):
        if leadership.lease is not Lease.GRANTED:
            wake()
