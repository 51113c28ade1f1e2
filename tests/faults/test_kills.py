"""Agent and control plane are killed at random moments; what people see and what the world saw must hold."""

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from tests.eventually import eventually
from tests.faults.kills import KILLS, SEED, check_ended, kill_until_over
from tests.faults.machines import AGENT, machines
from tests.world import pipeline

STAGES = 5

pytestmark = pytest.mark.kill


def script(ledger: Path, number: int) -> str:
    """One external effect, seen from outside: begun, done, and by which run."""
    return f"echo {number} begin $$ >> {ledger}; sleep 0.3; echo {number} end $$ >> {ledger}"


def application(ledger: Path, *, fails: bool) -> str:
    stages: list[dict[str, Any]] = [
        {
            "name": "SCRIPT_RUN",
            "with": {
                "run": script(ledger, number),
                "onRollback": f"echo undo-{number} >> {ledger}",
            },
        }
        for number in range(STAGES)
    ]
    stages.insert(2, {"name": "WAIT", "with": {"duration": "1s"}})
    if fails:
        stages.append({"name": "SCRIPT_RUN", "with": {"run": "exit 3"}})
    return pipeline(*stages, planner={"autoRollback": True}, timeout="10m")


@pytest.mark.timeout(600 + KILLS * 30)
async def test_kills_at_random_moments_change_nothing_that_people_see(tmp_path: Path) -> None:
    print(f"PIPECD_KILL_SEED={SEED}")
    rng = random.Random(SEED)
    left, rounds = KILLS, 0
    async with machines(tmp_path) as m:
        app = await m.application("shop", {"app.pipecd.yaml": pipeline("true")})
        first = await m.ended(app)
        assert first.status == DeploymentStatus.DEPLOYMENT_SUCCESS, first.status_reason
        while left > 0:
            rounds += 1
            ledger, fails = tmp_path / f"ledger-{rounds}", rounds % 3 == 0
            ledger.touch()
            commit = await m.push(
                f"Round {rounds}", {"shop/app.pipecd.yaml": application(ledger, fails=fails)}
            )
            used = await kill_until_over(m, app, commit, rng, left)
            left -= used
            ended = await m.ended(app, commit, within=240)
            check_ended(ended, fails=fails)
            check_ledger(ledger.read_text().splitlines(), kills=used, fails=fails)
        commits = Counter(one.trigger.commit.hash for one in await m.deployments(app))
        assert set(commits.values()) == {1}, "a commit was deployed twice"
        assert len(commits) == rounds + 1
        assert await m.stop_agent() == 0


def check_ledger(lines: list[str], *, kills: int, fails: bool) -> None:
    """What the world saw, in order."""
    effects = [line.split() for line in lines if not line.startswith("undo")]
    numbers = [int(number) for number, *_ in effects]
    assert numbers == sorted(numbers), f"a finished stage ran again: {lines}"
    begun = Counter(int(number) for number, what, _ in effects if what == "begin")
    done = Counter(int(number) for number, what, _ in effects if what == "end")
    assert set(done) == set(range(STAGES)), f"a stage was left out: {lines}"
    assert sum(begun.values()) <= STAGES + kills, f"more runs than kills explain: {lines}"
    for (_, what, run), (_, then, next_run) in pairwise(effects):
        if then == "end":
            assert (what, run) == ("begin", next_run), f"a killed run went on: {lines}"
    undone = Counter(line for line in lines if line.startswith("undo"))
    assert set(undone) == ({f"undo-{number}" for number in range(STAGES)} if fails else set())
    assert sum(undone.values()) <= (STAGES + kills if fails else 0)


async def test_a_wait_goes_on_where_it_was(tmp_path: Path) -> None:
    async with machines(tmp_path) as m:
        waiting = pipeline({"name": "WAIT", "with": {"duration": "12s"}})
        app = await m.application("shop", {"app.pipecd.yaml": waiting})

        async def begun() -> str:
            made = await m.deployments(app)
            stages = made[0].stages if made else ()
            return made[0].id if stages and "startTime" in stages[0].metadata else ""

        deployment_id = await eventually(begun)
        await m.logged(deployment_id, "stage-0", "Waiting for 12 s")
        since = (await m.deployment(deployment_id)).stages[0].metadata["startTime"]
        for _ in range(2):
            m.kill(AGENT)
            m.start(AGENT)
            await m.agent_at_work()
        ended = await m.over(deployment_id)
        assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS
        assert ended.stages[0].metadata["startTime"] == since, "elapsed waiting was waited again"
        log = await m.logged(deployment_id, "stage-0", "Waited for 12 s")
        assert log.count("Waiting for 12 s") == 1


async def test_sigterm_ends_in_time_and_reports_nothing_as_failed(tmp_path: Path) -> None:
    async with machines(tmp_path) as m:
        gate = tmp_path / "gate"
        until = f"while [ ! -e {gate} ]; do sleep 0.1; done"
        app = await m.application("shop", {"app.pipecd.yaml": pipeline(until)})

        async def at_work() -> bool:
            return any(stage.status for one in await m.deployments(app) for stage in one.stages)

        await eventually(at_work)
        # Who is not done within its grace period ends with another code.
        assert await m.stop_agent() == 0
        (running,) = await m.deployments(app)
        assert running.status == DeploymentStatus.DEPLOYMENT_RUNNING
        gate.touch()
        m.start(AGENT)
        assert (await m.ended(app)).status == DeploymentStatus.DEPLOYMENT_SUCCESS
