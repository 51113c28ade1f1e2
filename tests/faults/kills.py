"""Killing processes again and again while something is deployed: which, when, and what must hold at the end.

    used = await kill_until_over(m, app, commit, rng, left)
    check_ended(await m.ended(app, commit), fails=False)

`PIPECD_KILLS` sets how many kills there are, `PIPECD_KILL_SEED` repeats a run.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.stage_pb2 import StageStatus
from tests.faults.machines import AGENT, SERVER, Machines

KILLS = int(os.environ.get("PIPECD_KILLS", "50"))
SEED = int(os.environ.get("PIPECD_KILL_SEED", str(random.randrange(10**6))))

#: Who dies together, and how often compared to the others.
Victims = Mapping[tuple[str, ...], int]
ANYBODY: Victims = {(AGENT,): 6, (SERVER,): 3, (AGENT, SERVER): 1}
THE_AGENT: Victims = {(AGENT,): 1}

#: Waits for the moment to kill; the moment lasts until the block ends.
Moment = Callable[[random.Random], AbstractAsyncContextManager[None]]


def some_time(longest: float) -> Moment:
    """Some time after the process was started; at most `longest` seconds."""

    @asynccontextmanager
    async def moment(rng: random.Random) -> AsyncIterator[None]:
        await asyncio.sleep(rng.uniform(0.05, longest))
        yield

    return moment


#: Long enough for some work to be done.
ANY_TIME = some_time(4.0)


async def kill_until_over(
    m: Machines,
    app: str,
    commit: str,
    rng: random.Random,
    most: int,
    *,
    victims: Victims = ANYBODY,
    moment: Moment = ANY_TIME,
) -> int:
    """How many kills it took until the deployment was over."""
    kills = 0
    while kills < most:
        killed = rng.choices(list(victims), weights=list(victims.values()))[0]
        async with moment(rng):
            for victim in killed:
                m.kill(victim)
        kills += 1
        await asyncio.sleep(rng.choice([0.0, rng.uniform(0.0, 0.5)]))
        for victim in killed:
            m.start(victim)
        if await over(m, app, commit):
            break
    return kills


async def over(m: Machines, app: str, commit: str) -> bool:
    made = [one for one in await m.deployments(app) if one.trigger.commit.hash == commit]
    return any(one.status >= DeploymentStatus.DEPLOYMENT_SUCCESS for one in made)


def check_ended(ended: Deployment, *, fails: bool) -> None:
    """All is done and nothing undone; or the last stage fails, and what was done before it is undone."""
    wanted = DeploymentStatus.DEPLOYMENT_FAILURE if fails else DeploymentStatus.DEPLOYMENT_SUCCESS
    assert ended.status == wanted, ended.status_reason
    forward = [stage for stage in ended.stages if not stage.rollback]
    last = StageStatus.STAGE_FAILURE if fails else StageStatus.STAGE_SUCCESS
    assert [stage.status for stage in forward[:-1]] == [StageStatus.STAGE_SUCCESS] * (len(forward) - 1)
    assert forward[-1].status == last
    undone = {stage.status for stage in ended.stages if stage.rollback}
    assert undone == {StageStatus.STAGE_SUCCESS if fails else StageStatus.STAGE_NOT_STARTED_YET}
