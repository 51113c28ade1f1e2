"""Agent and control plane are killed at random times; statuses and external effects must stay correct."""

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from tests.eventually import eventually
from tests.faults.kills import KILLS, SEED, check_ended, kill_until_ended
from tests.faults.processes import AGENT, start_processes
from tests.world import pipeline

STAGES = 5
#: The kills are distributed over several installations, which are tested in parallel.
PARTS = 3

pytestmark = pytest.mark.kill


def script(ledger: Path, number: int) -> str:
    """A script that records its start and end, and the run (process id), in the ledger."""
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
@pytest.mark.parametrize("part", range(PARTS))
async def test_kills_at_random_times_do_not_change_the_result(part: int, tmp_path: Path) -> None:
    print(f"PIPECD_KILL_SEED={SEED}")
    rng = random.Random(SEED + part)
    remaining_kills, cycles = KILLS // PARTS + (part < KILLS % PARTS), 0
    async with start_processes(tmp_path) as m:
        app = await m.add_application("shop", {"app.pipecd.yaml": pipeline("true")})
        first = await m.wait_for_deployment(app)
        assert first.status == DeploymentStatus.DEPLOYMENT_SUCCESS, first.status_reason
        while remaining_kills > 0:
            cycles += 1
            ledger, fails = tmp_path / f"ledger-{cycles}", (cycles + part) % PARTS == 0
            ledger.touch()
            commit = await m.push(
                f"Cycle {cycles}", {"shop/app.pipecd.yaml": application(ledger, fails=fails)}
            )
            kills = await kill_until_ended(m, app, commit, rng, remaining_kills)
            remaining_kills -= kills
            ended = await m.wait_for_deployment(app, commit, within=240)
            check_ended(ended, fails=fails)
            check_ledger(ledger.read_text().splitlines(), kills=kills, fails=fails)
        commits = Counter(deployment.trigger.commit.hash for deployment in await m.deployments(app))
        assert set(commits.values()) == {1}, "a commit was deployed twice"
        assert len(commits) == cycles + 1
        assert await m.stop_agent() == 0


def check_ledger(lines: list[str], *, kills: int, fails: bool) -> None:
    """Checks the external effects, in order."""
    effects = [line.split() for line in lines if not line.startswith("undo")]
    numbers = [int(number) for number, *_ in effects]
    assert numbers == sorted(numbers), f"a finished stage ran again: {lines}"
    started = Counter(int(number) for number, what, _ in effects if what == "begin")
    completed = Counter(int(number) for number, what, _ in effects if what == "end")
    assert set(completed) == set(range(STAGES)), f"a stage did not run: {lines}"
    assert sum(started.values()) <= STAGES + kills, f"more runs than the kills explain: {lines}"
    for (_, what, run), (_, then, next_run) in pairwise(effects):
        if then == "end":
            assert (what, run) == ("begin", next_run), f"a killed run continued: {lines}"
    rolled_back = Counter(line for line in lines if line.startswith("undo"))
    assert set(rolled_back) == ({f"undo-{number}" for number in range(STAGES)} if fails else set())
    assert sum(rolled_back.values()) <= (STAGES + kills if fails else 0)


async def test_wait_continues_after_a_kill(tmp_path: Path) -> None:
    async with start_processes(tmp_path) as m:
        waiting = pipeline({"name": "WAIT", "with": {"duration": "4s"}})
        app = await m.add_application("shop", {"app.pipecd.yaml": waiting})

        async def waiting_id() -> str:
            deployments = await m.deployments(app)
            stages = deployments[0].stages if deployments else ()
            return deployments[0].id if stages and "startTime" in stages[0].metadata else ""

        deployment_id = await eventually(waiting_id)
        await m.wait_for_log(deployment_id, "stage-0", "Waiting for 4 s")
        since = (await m.deployment(deployment_id)).stages[0].metadata["startTime"]
        for _ in range(2):
            m.kill(AGENT)
            m.start(AGENT)
            await m.wait_for_agent()
        ended = await m.wait_until_final(deployment_id)
        assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS
        assert ended.stages[0].metadata["startTime"] == since, "the wait was restarted"
        log = await m.wait_for_log(deployment_id, "stage-0", "Waited for 4 s")
        assert log.count("Waiting for 4 s") == 1


async def test_sigterm_stops_in_time_and_reports_no_failure(tmp_path: Path) -> None:
    async with start_processes(tmp_path) as m:
        gate = tmp_path / "gate"
        until = f"while [ ! -e {gate} ]; do sleep 0.1; done"
        app = await m.add_application("shop", {"app.pipecd.yaml": pipeline(until)})

        async def stage_started() -> bool:
            return any(stage.status for item in await m.deployments(app) for stage in item.stages)

        await eventually(stage_started)
        # An agent that exceeds its grace period exits with another code.
        assert await m.stop_agent() == 0
        (running,) = await m.deployments(app)
        assert running.status == DeploymentStatus.DEPLOYMENT_RUNNING
        gate.touch()
        m.start(AGENT)
        assert (await m.wait_for_deployment(app)).status == DeploymentStatus.DEPLOYMENT_SUCCESS
