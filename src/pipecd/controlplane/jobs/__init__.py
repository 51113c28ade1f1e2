"""Periodic background jobs of the control plane, one file per job.

`run` is called by the server, or by `pipecd ops` alone. A lease ensures that each job runs in at most one
replica at a time.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from uuid import uuid4

import structlog

from pipecd.clock import Clock, timeout
from pipecd.controlplane.faults import contained
from pipecd.controlplane.jobs import (
    delete_command_outputs,
    delete_old_audit_rows,
    expire_commands,
    prune,
    seal_audit_log,
    settle_events,
    update_chains,
    watch_agents,
)
from pipecd.controlplane.notifications.sender import Sender
from pipecd.controlplane.services import Services
from pipecd.controlplane.store.feed import RESYNC, Change
from pipecd.errors import PipecdError
from pipecd.model.actor import Actor, ActorKind

log = structlog.get_logger()
#: Least time from the end of a run to the next one that a change causes (seconds).
MIN_PAUSE = 0.2


@dataclass(frozen=True, kw_only=True)
class Job:
    """`interval` is in seconds. A change of a record of the kinds `wake_on` runs the job at once."""

    name: str
    interval: float
    run: Callable[[Services, Actor], Awaitable[None]]
    wake_on: frozenset[str] = frozenset()

    @property
    def actor(self) -> Actor:
        return Actor(kind=ActorKind.JOB, id=self.name, name=self.name, action=self.name)


JOBS: Sequence[Job] = (
    Job(
        name="update-chains",
        interval=20.0,
        run=update_chains.run,
        wake_on=frozenset({"deployment", "command", RESYNC.kind}),
    ),
    Job(name="expire-commands", interval=600.0, run=expire_commands.run),
    Job(name="delete-command-outputs", interval=3600.0, run=delete_command_outputs.run),
    Job(name="settle-events", interval=60.0, run=settle_events.run),
    Job(name="delete-old-audit-rows", interval=3600.0, run=delete_old_audit_rows.run),
    Job(name="seal-audit-log", interval=1.0, run=seal_audit_log.run),
    Job(name="watch-agents", interval=10.0, run=watch_agents.run),
    Job(name="prune", interval=60.0, run=prune.run),
)


async def run_all(services: Services) -> None:
    """Run every job, and send notifications, until cancelled."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run(services, JOBS), name="periodic jobs")
        tasks.create_task(Sender(services, str(uuid4())).run(), name="notifications")


async def run(services: Services, jobs: Sequence[Job]) -> None:
    """Run every job at its interval, until cancelled."""
    holder = str(uuid4())
    async with asyncio.TaskGroup() as tasks:
        for job in jobs:
            tasks.create_task(_run_periodically(services, job, holder), name=f"job {job.name}")


async def _run_periodically(services: Services, job: Job, holder: str) -> None:
    with services.store.feed.subscribe() if job.wake_on else nullcontext() as changes:
        while True:
            try:
                with contained(job.name):
                    if await services.store.leases.acquire(f"job/{job.name}", holder, job.interval * 2 + 30):
                        await job.run(services, job.actor)
            except PipecdError as error:
                log.warning("job_failed", job=job.name, error=str(error))
            await _wait(services.clock, job, changes)


async def _wait(clock: Clock, job: Job, changes: asyncio.Queue[Change] | None) -> None:
    """Until the job is due: after its interval, or when a change wakes it."""
    interval = job.interval * random.uniform(0.9, 1.1)
    if changes is None:
        await clock.sleep(interval)
        return
    await clock.sleep(MIN_PAUSE)
    with suppress(TimeoutError):
        async with timeout(clock, interval):
            while (await changes.get()).kind not in job.wake_on:
                pass
    # One run serves all changes so far: it reads the records after them.
    while not changes.empty():
        changes.get_nowait()
