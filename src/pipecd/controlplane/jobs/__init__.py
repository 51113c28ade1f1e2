"""What the control plane does by itself, one file a job. One replica at a time does each.

`keep` runs inside the server, or alone as `pipecd ops`.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import uuid4

import structlog
from prometheus_client import Counter

from pipecd.controlplane.jobs import carry_chains, expire_commands, forget_outputs, sweep
from pipecd.controlplane.services import Plane
from pipecd.errors import PipecdError

log = structlog.get_logger()
FAULTS = Counter("pipecd_job_faults_total", "Runs of a job that ended by a fault of ours.", ["job"])


@dataclass(frozen=True, kw_only=True)
class Job:
    """`every` is seconds."""

    name: str
    every: float
    run: Callable[[Plane], Awaitable[None]]


JOBS: Sequence[Job] = (
    Job(name="carry-chains", every=2.0, run=carry_chains.run),
    Job(name="expire-commands", every=600.0, run=expire_commands.run),
    Job(name="forget-outputs", every=3600.0, run=forget_outputs.run),
    Job(name="sweep", every=60.0, run=sweep.run),
)


async def keep(plane: Plane, jobs: Sequence[Job] = JOBS) -> None:
    """Every job at its own pace, for ever."""
    holder = str(uuid4())
    async with asyncio.TaskGroup() as tasks:
        for job in jobs:
            tasks.create_task(_keep(plane, job, holder), name=f"job {job.name}")


async def _keep(plane: Plane, job: Job, holder: str) -> None:
    while True:
        try:
            if await plane.store.leases.acquire(f"job/{job.name}", holder, job.every * 2 + 30):
                await job.run(plane)
        except PipecdError as error:
            log.warning("job paused", job=job.name, why=str(error))
        except Exception:
            FAULTS.labels(job.name).inc()
            log.exception("fault in a job", job=job.name)
        await asyncio.sleep(job.every * random.uniform(0.9, 1.1))
