"""Kills processes repeatedly during a deployment: which ones, when, and the checks at the end.

    kills = await kill_until_ended(m, app, commit, rng, max_kills)
    check_ended(await m.wait_for_deployment(app, commit), fails=False)

`PIPECD_KILLS` sets the number of kills, `PIPECD_KILL_SEED` the random seed. By default each run chooses the
same processes and delays, so that a failure is due to a change; to search for faults, vary the seed.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.stage_pb2 import StageStatus
from tests.faults.processes import AGENT, SERVER, Processes

KILLS = int(os.environ.get("PIPECD_KILLS", "50"))
SEED = int(os.environ.get("PIPECD_KILL_SEED", "1"))

#: Sets of processes that are killed together, and their relative frequency.
Targets = Mapping[tuple[str, ...], int]
ANY_PROCESS: Targets = {(AGENT,): 6, (SERVER,): 3, (AGENT, SERVER): 1}
AGENT_ONLY: Targets = {(AGENT,): 1}

#: Waits for the moment of the kill, which lasts until the block ends.
Moment = Callable[[random.Random], AbstractAsyncContextManager[None]]


def random_delay(max_delay: float) -> Moment:
    """A random time after the process was started, at most `max_delay` seconds."""

    @asynccontextmanager
    async def moment(rng: random.Random) -> AsyncIterator[None]:
        await asyncio.sleep(rng.uniform(0.05, max_delay))
        yield

    return moment


#: Long enough for some progress.
ANY_TIME = random_delay(1.5)

#: An agent starts and carries out a deployment within this many steps of its event loop.
MAX_STEPS = 1500
#: How long the agent may take for its steps, in seconds; without work it takes few.
MAX_STEPS_TIME = 3.0


async def kill_until_ended(
    m: Processes,
    app: str,
    commit: str,
    rng: random.Random,
    max_kills: int,
    *,
    targets: Targets = ANY_PROCESS,
    moment: Moment = ANY_TIME,
) -> int:
    """Kills processes until the deployment has ended; returns the number of kills.

    Half of the agents that are started after a kill kill themselves: at a random step of their event loop,
    which is at any await, however short the time before it. The others are killed at a `moment`.
    """
    kills, steps = 0, 0
    while kills < max_kills:
        if steps:
            killed: tuple[str, ...] = (AGENT,)
            await _wait_for_steps(m, app, commit)
            m.kill(AGENT)
        else:
            killed = rng.choices(list(targets), weights=list(targets.values()))[0]
            async with moment(rng):
                for name in killed:
                    m.kill(name)
        kills += 1
        await asyncio.sleep(rng.choice([0.0, rng.uniform(0.0, 0.5)]))
        steps = 0
        if killed == (AGENT,) and kills < max_kills and not await has_ended(m, app, commit):
            steps = rng.choice([0, rng.randint(1, MAX_STEPS)])
        for name in killed:
            m.start(name, steps=steps if name == AGENT else 0)
        if not steps and await has_ended(m, app, commit):
            break
    return kills


async def _wait_for_steps(m: Processes, app: str, commit: str) -> None:
    """Returns when the agent has killed itself, or has no more work."""
    until = time.monotonic() + MAX_STEPS_TIME
    while m.running[AGENT].poll() is None and time.monotonic() < until:
        if await has_ended(m, app, commit):
            break
        await asyncio.sleep(0.05)


async def has_ended(m: Processes, app: str, commit: str) -> bool:
    deployments = await m.deployments(app)
    return any(
        deployment.status >= DeploymentStatus.DEPLOYMENT_SUCCESS
        for deployment in deployments
        if deployment.trigger.commit.hash == commit
    )


def check_ended(deployment: Deployment, *, fails: bool) -> None:
    """All stages succeeded and none was rolled back; or the last one failed, and all were rolled back."""
    expected = DeploymentStatus.DEPLOYMENT_FAILURE if fails else DeploymentStatus.DEPLOYMENT_SUCCESS
    assert deployment.status == expected, deployment.status_reason
    forward = [stage for stage in deployment.stages if not stage.rollback]
    last = StageStatus.STAGE_FAILURE if fails else StageStatus.STAGE_SUCCESS
    assert [stage.status for stage in forward[:-1]] == [StageStatus.STAGE_SUCCESS] * (len(forward) - 1)
    assert forward[-1].status == last
    rollbacks = {stage.status for stage in deployment.stages if stage.rollback}
    assert rollbacks == {StageStatus.STAGE_SUCCESS if fails else StageStatus.STAGE_NOT_STARTED_YET}
