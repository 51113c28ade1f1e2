"""Commit after commit is deployed to an emulated AWS, and the agent dies by SIGKILL again and again.

    first = await first_deployed(m, files, ECS, "ecs")
    async for one in rounds(m, first.application_id, aws, commit, cuts=(2, 4)):
        ...  # what did `one` leave behind?

Most kills come in the middle of a call to AWS: before it takes effect, or after that and before the agent
hears of it. The others come at any time.
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
from tests.faults.kills import KILLS, SEED, THE_AGENT, Moment, check_ended, kill_until_over, over, some_time
from tests.faults.machines import Machines
from tests.platforms.aws.emulator import Call, Emulator

AWS_KILLS = max(4, KILLS // 4)
#: So few that there are rounds of every kind.
_KILLS_A_ROUND = max(1, AWS_KILLS // 4)
#: How long a process may live until the call comes in whose middle it dies (seconds).
_LONGEST = 30.0
#: How many calls it may make until then: of those that change something, and of all.
_MOST_CHANGES, _MOST_CALLS = 5, 25

#: From a commit's tag, and after how many stages it fails (None: it does not), its files.
Commit = Callable[[str, int | None], Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class Round:
    """A commit with the image `tag`, deployed to its end. Its pipeline fails after `cut` stages, or not."""

    tag: str
    cut: int | None
    deployment: Deployment
    kills: int


async def first_deployed(m: Machines, files: Mapping[str, str], kind: int, provider: str) -> Deployment:
    """Nobody is killed here."""
    await m.push("Begin", _below_shop(files))
    app = await m.registered("shop", kind=kind, provider=provider)
    first = await m.ended(app, within=240)
    assert first.status == DeploymentStatus.DEPLOYMENT_SUCCESS, first.status_reason
    return first


async def rounds(
    m: Machines, app: str, aws: Emulator, commit: Commit, cuts: Sequence[int]
) -> AsyncIterator[Round]:
    """Deploys commit after commit, of every kind in turn, while the agent is killed."""
    print(f"PIPECD_KILL_SEED={SEED}")
    rng = random.Random(SEED)
    left, number = AWS_KILLS, 1
    kinds: list[int | None] = [None, *cuts]
    rng.shuffle(kinds)
    for cut in cycle(kinds):
        number += 1
        tag = f"v{number}"
        pushed = await m.push(f"Round {tag}", _below_shop(commit(tag, cut)))
        used = await kill_until_over(
            m,
            app,
            pushed,
            rng,
            min(left, _KILLS_A_ROUND),
            victims=THE_AGENT,
            moment=_in_a_call(aws, partial(over, m, app, pushed)),
        )
        left -= used
        ended = await m.ended(app, pushed, within=240)
        check_ended(ended, fails=cut is not None)
        assert not aws.broken
        yield Round(tag=tag, cut=cut, deployment=ended, kills=used)
        if left <= 0:
            break
    commits = Counter(one.trigger.commit.hash for one in await m.deployments(app))
    assert set(commits.values()) == {1} and len(commits) == number, "a commit was deployed twice"
    assert await m.stop_agent() == 0


def _in_a_call(aws: Emulator, over: Callable[[], Awaitable[bool]]) -> Moment:
    """The middle of a call to AWS, which is lost, or whose answer is. Now and then any time; or the end."""

    @asynccontextmanager
    async def moment(rng: random.Random) -> AsyncIterator[None]:
        if rng.random() < 0.15:
            async with some_time(4.0)(rng):
                yield
            return
        loop, come, gone = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
        answer_lost, only_changes = rng.random() < 0.6, rng.random() < 0.75
        countdown = rng.randint(1, _MOST_CHANGES if only_changes else _MOST_CALLS)

        def trap(call: Call, after: bool) -> None:
            nonlocal countdown
            if after is not answer_lost or (only_changes and not call.changes):
                return
            countdown -= 1
            if countdown == 0:
                print(f"killed in {call.name}, " + ("its answer is lost" if after else "it is lost"))
                loop.call_soon_threadsafe(come.set)
                assert gone.wait(240)
                if not after:
                    raise ConnectionError("the agent is gone")

        aws.trap = trap
        try:
            until = time.monotonic() + _LONGEST
            while not come.is_set() and time.monotonic() < until and not await over():
                with suppress(TimeoutError):
                    await asyncio.wait_for(come.wait(), 0.3)
            if not come.is_set():
                print("killed when the deployment was over, or no such call had come for long")
            yield
        finally:
            aws.trap = None
            gone.set()

    return moment


def _below_shop(files: Mapping[str, str]) -> dict[str, str | None]:
    return {f"shop/{name}": text for name, text in files.items()}
