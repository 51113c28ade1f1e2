"""Periodic background jobs of the control plane, one file per job.

`run` is called by the server, or by `pipecd ops` alone. A lease ensures that each job runs in at most one
replica at a time.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import uuid4

import structlog
from prometheus_client import Counter

from pipecd.controlplane.jobs import (
    delete_command_outputs,
    expire_commands,
    prune,
    settle_events,
    update_chains,
)
from pipecd.controlplane.services import Services
from pipecd.errors import PipecdError
from pipecd.model.actor import Actor, ActorKind

log = structlog.get_logger()
INTERNAL_ERRORS = Counter("pipecd_job_faults_total", "Job runs that ended with an internal error.", ["job"])


@dataclass(frozen=True, kw_only=True)
class Job:
    """`interval` is in seconds."""

    name: str
    interval: float
    run: Callable[[Services, Actor], Awaitable[None]]

    @property
    def actor(self) -> Actor:
        return Actor(kind=ActorKind.JOB, id=self.name, name=self.name, action=self.name)


JOBS: Sequence[Job] = (
    Job(name="update-chains", interval=2.0, run=update_chains.run),
    Job(name="expire-commands", interval=600.0, run=expire_commands.run),
    Job(name="delete-command-outputs", interval=3600.0, run=delete_command_outputs.run),
    Job(name="settle-events", interval=60.0, run=settle_events.run),
    Job(name="prune", interval=60.0, run=prune.run),
)


async def run(services: Services, jobs: Sequence[Job] = JOBS) -> None:
    """Run every job at its interval, until cancelled."""
    holder = str(uuid4())
    async with asyncio.TaskGroup() as tasks:
        for job in jobs:
            tasks.create_task(_run_periodically(services, job, holder), name=f"job {job.name}")


async def _run_periodically(services: Services, job: Job, holder: str) -> None:
    while True:
        try:
            if await services.store.leases.acquire(f"job/{job.name}", holder, job.interval * 2 + 30):
                await job.run(services, job.actor)
        except PipecdError as error:
            log.warning("job_failed", job=job.name, error=str(error))
        except Exception:
            INTERNAL_ERRORS.labels(job.name).inc()
            log.exception("job_internal_error", job=job.name)
        await services.clock.sleep(job.interval * random.uniform(0.9, 1.1))
