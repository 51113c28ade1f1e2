"""Deploys commit after commit to an emulated AWS while the agent is killed repeatedly with SIGKILL.

    first = await deploy_first(m, files, ECS, "ecs")
    async for cycle in run_kill_cycles(m, first.application_id, aws, commit, cuts=(2, 4)):
        ...  # check the state after `cycle`

Most kills happen during a call to AWS: before it takes effect, or after it but before the agent receives
the response. The others happen at random times.
"""

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import cycle

from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from tests.faults.kills import (
    AGENT_ONLY,
    KILLS,
    SEED,
    Moment,
    check_ended,
    has_ended,
    kill_until_ended,
    random_delay,
)
from tests.faults.processes import Processes
from tests.platforms.aws.emulator import Call, Emulator

AWS_KILLS = max(4, KILLS // 4)
#: Small enough for cycles of every kind.
_KILLS_PER_CYCLE = max(1, AWS_KILLS // 4)
#: How long a process may run before the call during which it is killed, in seconds.
_MAX_WAIT = 30.0
#: How many calls it may make before that: mutating calls, and all calls.
_MAX_CHANGES, _MAX_CALLS = 5, 25

#: Returns the files of a commit, given its tag and after how many stages it fails (None: it succeeds).
Commit = Callable[[str, int | None], Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class KillCycle:
    """A completed deployment of the image `tag`. Its pipeline fails after `cut` stages, if not None."""

    tag: str
    cut: int | None
    deployment: Deployment
    kills: int


async def deploy_first(m: Processes, files: Mapping[str, str], kind: int, provider: str) -> Deployment:
    """Deploys the first commit, without kills."""
    await m.push("Begin", _below_shop(files))
    app = await m.register("shop", kind=kind, provider=provider)
    first = await m.wait_for_deployment(app, within=240)
    assert first.status == DeploymentStatus.DEPLOYMENT_SUCCESS, first.status_reason
    return first


async def run_kill_cycles(
    m: Processes, app: str, aws: Emulator, commit: Commit, cuts: Sequence[int]
) -> AsyncIterator[KillCycle]:
    """Deploys commits, of every kind in turn, while the agent is killed."""
    print(f"PIPECD_KILL_SEED={SEED}")
    rng = random.Random(SEED)
    remaining_kills, number = AWS_KILLS, 1
    kinds: list[int | None] = [None, *cuts]
    rng.shuffle(kinds)
    for cut in cycle(kinds):
        number += 1
        tag = f"v{number}"
        pushed_commit = await m.push(f"Cycle {tag}", _below_shop(commit(tag, cut)))
        kills = await kill_until_ended(
            m,
            app,
            pushed_commit,
            rng,
            min(remaining_kills, _KILLS_PER_CYCLE),
            targets=AGENT_ONLY,
            moment=_during_call(aws, partial(has_ended, m, app, pushed_commit)),
        )
        remaining_kills -= kills
        deployment = await m.wait_for_deployment(app, pushed_commit, within=240)
        check_ended(deployment, fails=cut is not None)
        assert not aws.violations
        yield KillCycle(tag=tag, cut=cut, deployment=deployment, kills=kills)
        if remaining_kills <= 0:
            break
    commits = Counter(deployment.trigger.commit.hash for deployment in await m.deployments(app))
    assert set(commits.values()) == {1} and len(commits) == number, "a commit was deployed twice"
    assert await m.stop_agent() == 0


def _during_call(aws: Emulator, has_ended: Callable[[], Awaitable[bool]]) -> Moment:
    """During a call to AWS: the call or its response is lost. Sometimes a random time, or after the end."""

    @asynccontextmanager
    async def moment(rng: random.Random) -> AsyncIterator[None]:
        if rng.random() < 0.15:
            async with random_delay(4.0)(rng):
                yield
            return
        loop, reached, killed = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
        response_lost, only_changes = rng.random() < 0.6, rng.random() < 0.75
        countdown = rng.randint(1, _MAX_CHANGES if only_changes else _MAX_CALLS)

        def intercept(call: Call, after: bool) -> None:
            nonlocal countdown
            if after is not response_lost or (only_changes and not call.changes):
                return
            countdown -= 1
            if countdown == 0:
                print(f"killed in {call.name}, " + ("its response is lost" if after else "it is lost"))
                loop.call_soon_threadsafe(reached.set)
                assert killed.wait(240)
                if not after:
                    raise ConnectionError("the agent was killed")

        aws.intercept = intercept
        try:
            until = time.monotonic() + _MAX_WAIT
            while not reached.is_set() and time.monotonic() < until and not await has_ended():
                with suppress(TimeoutError):
                    await asyncio.wait_for(reached.wait(), 0.3)
            if not reached.is_set():
                print("killed after the deployment ended, or because no such call was made in time")
            yield
        finally:
            aws.intercept = None
            killed.set()

    return moment


def _below_shop(files: Mapping[str, str]) -> dict[str, str | None]:
    return {f"shop/{name}": text for name, text in files.items()}
