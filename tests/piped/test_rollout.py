"""One deployment in virtual time: delays after failures, waiting, timeouts and commands."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest

from pipecd.errors import Refused, Temporary
from pipecd.model.application import Application
from pipecd.model.approval import DECISIONS
from pipecd.model.deployment import Deployment
from pipecd.model.notification import DeploymentCancelled, EventGroup
from pipecd.model.progress import Finish
from pipecd.model.stage import Again, Done, Outcome, Work
from pipecd.model.status import DeploymentStatus, StageStatus
from pipecd.piped.deploy.rollout import Rollout
from pipecd.schema.agent.deployments_pb2 import GetDeploymentRequest, GetDeploymentResponse
from pipecd.wire import deployment_to
from tests.eventually import eventually
from tests.piped.memory_agent import MemoryAgent, memory_agent
from tests.virtual_clock import VirtualClock
from tests.world import pipeline

WAITS = pipeline({"name": "WAIT", "with": {"duration": "10m"}})


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


async def test_delays_between_attempts_to_plan_grow(tmp_path: Path, clock: VirtualClock) -> None:
    agent = memory_agent(tmp_path, clock, WAITS, planned=False)
    async with agent.running():
        await clock.advance(30)
        assert len(agent.planner.at) < 20, "in half a minute of an outage of Git"
        await clock.advance(3600)
    later = [at for at in agent.planner.at if at > 600]
    assert len(later) < 3000 / 30 * 2 * 1.5, "15 seconds on average"
    assert max(after - before for before, after in pairwise(agent.planner.at)) <= 30


async def test_a_command_does_not_cut_the_delay_short_unless_it_is_a_cancel(
    tmp_path: Path, clock: VirtualClock
) -> None:
    agent = memory_agent(tmp_path, clock, WAITS, planned=False)
    async with agent.running() as task:
        await clock.advance(1800)
        before = len(agent.planner.at)
        for _ in range(100):
            agent.view.commands_feed()
            await clock.advance(0.1)
        assert len(agent.planner.at) <= before + 5
        agent.cancel()
        await clock.advance(1)
        assert task.done()
    assert agent.deployment.status is DeploymentStatus.CANCELLED


async def test_a_deployment_that_was_planned_is_delayed_briefly_again(
    tmp_path: Path, clock: VirtualClock
) -> None:
    """The delays of an outage before do not count for the next one."""
    outage = True

    async def plan(deployment: Deployment, application: Application) -> Finish:
        if outage:
            raise Temporary("Git is away")
        return Finish(status=DeploymentStatus.FAILURE, reason="planned")

    agent = memory_agent(tmp_path, clock, WAITS, planned=False, plan=plan)
    async with agent.running() as task:
        await clock.advance(1800)
        assert not task.done()
        outage = False
        await clock.advance(30)
        assert task.done()
    assert agent.rollout._backoff.next_delay() <= 0.5


async def test_a_deployment_fails_with_the_cause_if_git_cannot_be_read_for_hours(
    tmp_path: Path, clock: VirtualClock
) -> None:
    async def plan(deployment: Deployment, application: Application) -> Finish:
        raise Temporary("ssh: Could not resolve hostname git.example.com")

    agent = memory_agent(tmp_path, clock, WAITS, planned=False, plan=plan)
    async with agent.running() as task:
        await clock.advance(4 * 3600)
        assert task.done()
    assert agent.deployment.status is DeploymentStatus.FAILURE
    assert "could not be planned: ssh: Could not resolve hostname" in agent.deployment.reason


async def test_turns_in_a_chain_are_checked_every_three_seconds(tmp_path: Path, clock: VirtualClock) -> None:
    async def not_yet(deployment: Deployment, application: Application) -> None:
        return None

    agent = memory_agent(tmp_path, clock, WAITS, planned=False, plan=not_yet)
    async with agent.running():
        await clock.advance(60)
    assert len(agent.planner.at) == 21


async def test_a_turn_in_a_chain_that_comes_while_it_is_asked_for_is_taken_at_once(
    tmp_path: Path, clock: VirtualClock
) -> None:
    async def plan(deployment: Deployment, application: Application) -> Finish | None:
        if len(agent.planner.at) > 1:
            return Finish(status=DeploymentStatus.SUCCESS, reason="planned")
        # The control plane has answered, and says that a block has ended before the answer arrives.
        agent.view.deployments_feed()
        return None

    agent = memory_agent(tmp_path, clock, WAITS, planned=False, plan=plan)
    async with agent.running() as task:
        await clock.advance(0.1)
        assert task.done()
    assert agent.deployment.reason == "planned"


async def test_delays_between_rejected_reports_grow(tmp_path: Path, clock: VirtualClock) -> None:
    """Also if the deployment has timed out, and must stop."""
    agent = memory_agent(tmp_path, clock, WAITS, shared={"pipecd/started-at": "1", "pipecd/timeout": "60"})
    agent.calls.refuse["ReportStageStatusChanged"] = grpc.StatusCode.FAILED_PRECONDITION
    async with agent.running():
        await clock.advance(3600)
    reports = len(agent.calls.requests("ReportStageStatusChanged"))
    assert 100 < reports < 3600 / 15 * 1.5


async def test_a_wait_takes_its_duration_and_few_calls(tmp_path: Path, clock: VirtualClock) -> None:
    agent = memory_agent(tmp_path, clock, WAITS)
    async with agent.running() as task:
        await clock.advance(599)
        assert agent.deployment.stages[0].status is StageStatus.RUNNING
        await clock.advance(12)
        assert task.done()
    assert agent.deployment.status is DeploymentStatus.SUCCESS
    assert len(agent.log) < 70


STAGES: Mapping[str, Mapping[str, Any]] = {
    "WAIT": {"name": "WAIT", "timeout": "1m", "with": {"duration": "1h"}},
    "WAIT_APPROVAL": {"name": "WAIT_APPROVAL", "timeout": "1m"},
    "WAIT_APPROVAL with": {"name": "WAIT_APPROVAL", "with": {"timeout": "1m"}},
}


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES.keys())
async def test_a_stage_that_waits_ends_at_its_timeout(
    tmp_path: Path, clock: VirtualClock, stage: Mapping[str, Any]
) -> None:
    agent = memory_agent(tmp_path, clock, pipeline(stage))
    async with agent.running() as task:
        await clock.advance(58)
        assert agent.deployment.stages[0].status is StageStatus.RUNNING
        await clock.advance(3)
        assert task.done()
    (ended,) = agent.deployment.stages
    assert ended.status is StageStatus.FAILURE
    assert ended.reason.startswith("the stage timed out after 1m; ")
    assert agent.deployment.status is DeploymentStatus.FAILURE
    assert agent.sources.uses == 1


async def test_an_approval_before_the_timeout_counts_at_once(tmp_path: Path, clock: VirtualClock) -> None:
    agent = memory_agent(tmp_path, clock, pipeline(STAGES["WAIT_APPROVAL"]))
    async with agent.running() as task:
        await clock.advance(50)
        agent.approve(agent.deployment.stages[0].id)
        await clock.advance(1)
        assert task.done()
    assert agent.deployment.status is DeploymentStatus.SUCCESS


async def test_a_rejection_of_a_stage_that_was_approved_meanwhile_is_refused(
    tmp_path: Path, clock: VirtualClock
) -> None:
    wait = {"name": "WAIT", "with": {"duration": "1m"}}
    agent = memory_agent(tmp_path, clock, pipeline({"name": "WAIT_APPROVAL"}, wait))
    async with agent.running() as task:
        await clock.advance(1)
        stage_id = agent.deployment.stages[0].id
        agent.approve(stage_id)
        await clock.advance(1)
        agent.reject(stage_id)
        await clock.advance(70)
        assert task.done()
    assert agent.deployment.status is DeploymentStatus.SUCCESS
    answers = {request.command_id: request for request in agent.calls.requests("ReportCommandHandled")}
    assert answers["reject"].metadata["reason"].startswith("stage WAIT_APPROVAL has already ended")


async def test_a_rejection_ends_the_deployment(tmp_path: Path, clock: VirtualClock) -> None:
    agent = memory_agent(tmp_path, clock, pipeline({"name": "WAIT_APPROVAL"}))
    async with agent.running() as task:
        await clock.advance(1)
        agent.reject(agent.deployment.stages[0].id)
        await clock.advance(1)
        assert task.done()
    assert agent.deployment.status is DeploymentStatus.CANCELLED
    assert agent.deployment.reason == "Rejected by ada during stage WAIT_APPROVAL: not today"
    assert '"verdict": "rejected"' in agent.deployment.stages[0].metadata[DECISIONS]


async def test_a_script_is_stopped_at_its_timeout(tmp_path: Path, clock: VirtualClock) -> None:
    """The script is a real process; only its timeout is virtual."""
    started = tmp_path / "started"
    stage = {"name": "SCRIPT_RUN", "timeout": "1m", "with": {"run": f"touch {started}; exec sleep 600"}}
    agent = memory_agent(tmp_path, clock, pipeline(stage))
    async with agent.running() as task:
        await clock.advance(1)

        async def script_started() -> bool:
            return started.exists()

        await eventually(script_started)
        await clock.advance(57)
        assert agent.deployment.stages[0].status is StageStatus.RUNNING
        await clock.advance(3)

        async def ended() -> bool:
            await clock.advance(1)
            return task.done()

        await eventually(ended)
    assert agent.deployment.stages[0].reason.startswith("the stage timed out after 1m; ")


async def test_a_deployment_ends_at_its_timeout(tmp_path: Path, clock: VirtualClock) -> None:
    agent = memory_agent(tmp_path, clock, WAITS, shared={"pipecd/timeout": "60"})
    async with agent.running() as task:
        await clock.advance(58)
        assert not task.done()
        await clock.advance(3)
        assert task.done()
    assert agent.deployment.status is DeploymentStatus.FAILURE
    assert agent.deployment.stages[0].reason == "The deployment timed out"


async def test_an_outage_of_git_fails_a_stage_after_half_an_hour(tmp_path: Path, clock: VirtualClock) -> None:
    agent = memory_agent(tmp_path, clock, WAITS)
    agent.sources.outage = Temporary("Git is away")
    async with agent.running() as task:
        await clock.advance(29 * 60)
        assert not task.done()
        await clock.advance(3 * 60)
        assert task.done()
    assert "retried for 30m" in agent.deployment.stages[0].reason
    assert agent.sources.uses < 100


async def test_an_outage_that_requests_no_delay_does_not_make_the_stage_spin(
    tmp_path: Path, clock: VirtualClock
) -> None:
    agent = memory_agent(tmp_path, clock, WAITS)
    agent.sources.outage = Temporary("throttled", after=0.0)
    async with agent.running():
        await clock.advance(600)
    assert agent.sources.uses < 650


async def test_a_stage_whose_result_could_not_be_stored_is_told_so(
    tmp_path: Path, clock: VirtualClock
) -> None:
    """Its effect exists, but the control plane does not know of it."""
    interrupted: list[bool] = []

    async def stage(work: Work[Any]) -> Outcome:
        interrupted.append(work.interrupted)
        if len(interrupted) == 2:
            agent.calls.refuse["SaveStageMetadata"] = grpc.StatusCode.FAILED_PRECONDITION
        return Again(saved={"call": str(len(interrupted))}) if len(interrupted) < 4 else Done()

    def get_deployment(_: GetDeploymentRequest) -> GetDeploymentResponse:
        agent.calls.refuse.clear()
        return GetDeploymentResponse(deployment=deployment_to(agent.deployment, now=1))

    agent = memory_agent(tmp_path, clock, WAITS, stages={"WAIT": stage})
    agent.calls.answers["GetDeployment"] = get_deployment
    async with agent.running() as task:
        await clock.advance(60)
        assert task.done()
    assert agent.deployment.status is DeploymentStatus.SUCCESS
    assert interrupted == [False, False, True, False]


async def test_each_reported_change_is_notified(tmp_path: Path, clock: VirtualClock) -> None:
    agent = memory_agent(tmp_path, clock, WAITS)
    async with agent.running():
        await clock.advance(660)
    assert [event.key for event in agent.events if event.group is not EventGroup.APPLICATION_SYNC] == [
        "d/DEPLOYMENT_STARTED",
        "d/stage-0/STAGE_STARTED",
        "d/stage-0/STAGE_SUCCEEDED",
        "d/DEPLOYMENT_SUCCEEDED",
    ]
    assert agent.events[-1].name == "APPLICATION_SYNCED"


async def test_a_change_that_could_not_be_reported_is_not_notified(
    tmp_path: Path, clock: VirtualClock
) -> None:
    agent = memory_agent(tmp_path, clock, WAITS)
    agent.calls.refuse["ReportStageStatusChanged"] = grpc.StatusCode.FAILED_PRECONDITION
    async with agent.running():
        await clock.advance(60)
    assert {event.key for event in agent.events} == {"d/DEPLOYMENT_STARTED"}


async def test_a_cancelled_deployment_names_who_requested_it(tmp_path: Path, clock: VirtualClock) -> None:
    agent = memory_agent(tmp_path, clock, WAITS)
    async with agent.running():
        await clock.advance(10)
        agent.cancel()
        await clock.advance(10)
    (cancelled,) = [event for event in agent.events if isinstance(event, DeploymentCancelled)]
    assert cancelled.commander == "ada"
    assert cancelled.reason.startswith("Cancelled by ada")


async def _cancel(agent: MemoryAgent, clock: VirtualClock) -> None:
    await clock.advance(10)
    agent.cancel()


@pytest.mark.parametrize(
    ("stage", "shared", "end", "expected"),
    [
        ({}, {}, _cancel, "Cancelled by ada"),
        ({}, {"pipecd/timeout": "60"}, None, "The deployment timed out"),
        ({"timeout": "1m"}, {}, None, "the stage timed out after 1m"),
    ],
    ids=["cancelled", "deployment timed out", "stage timed out"],
)
async def test_what_a_stopped_stage_has_started_is_ended_before_the_stage_ends(
    tmp_path: Path, clock: VirtualClock, stage: Any, shared: Any, end: Any, expected: str
) -> None:
    stopped: list[StageStatus] = []

    async def stop(work: Work[Any]) -> None:
        stopped.append(agent.deployment.stages[0].status)
        if len(stopped) < 3:
            raise Temporary("the platform is away")
        assert work.options.duration.total_seconds() == 600
        work.log.info("ended")

    file = pipeline({"name": "WAIT", "with": {"duration": "10m"}, **stage})
    agent = memory_agent(tmp_path, clock, file, stop={"WAIT": stop}, shared=shared)
    async with agent.running() as task:
        if end:
            await end(agent, clock)
        await clock.advance(120)
        assert task.done()
    assert stopped == [StageStatus.RUNNING] * 3
    assert agent.deployment.stages[0].reason.startswith(expected)
    assert "ended" in agent.log


async def test_a_stage_that_ends_by_itself_is_not_stopped(tmp_path: Path, clock: VirtualClock) -> None:
    async def stop(work: Work[Any]) -> None:
        raise AssertionError

    agent = memory_agent(tmp_path, clock, WAITS, stop={"WAIT": stop})
    async with agent.running() as task:
        await clock.advance(700)
        assert task.done()
    assert agent.deployment.status is DeploymentStatus.SUCCESS


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, "was not stopped within 30s"),
        (Refused("may not be cancelled"), "was not stopped: may not be cancelled"),
        (ValueError("a bug"), "Internal error of the agent"),
    ],
    ids=["hangs", "is refused", "has a bug"],
)
async def test_what_cannot_be_ended_does_not_keep_the_deployment(
    tmp_path: Path, clock: VirtualClock, error: Exception | None, expected: str
) -> None:
    async def stop(work: Work[Any]) -> None:
        if error:
            raise error
        await clock.sleep(3600)

    agent = memory_agent(tmp_path, clock, WAITS, stop={"WAIT": stop})
    async with agent.running() as task:
        await _cancel(agent, clock)
        await clock.advance(35)
        assert task.done()
    assert agent.deployment.status is DeploymentStatus.CANCELLED
    assert any(expected in line for line in agent.log)


async def test_an_agent_that_is_killed_while_it_ends_something_does_it_again(
    tmp_path: Path, clock: VirtualClock
) -> None:
    calls: list[float] = []

    async def stop(work: Work[Any]) -> None:
        calls.append(clock.now())
        if len(calls) == 1:
            await clock.sleep(20)

    agent = memory_agent(tmp_path, clock, WAITS, stop={"WAIT": stop})
    async with agent.running():
        await _cancel(agent, clock)
        await clock.advance(5)
    assert agent.deployment.stages[0].status is StageStatus.RUNNING
    agent.rollout = Rollout(agent.deployment, agent.services)
    async with agent.running() as task:
        await clock.advance(5)
        assert task.done()
    assert len(calls) == 2 and agent.deployment.status is DeploymentStatus.CANCELLED
