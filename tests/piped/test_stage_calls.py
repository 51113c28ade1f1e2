"""Whatever a stage does, it ends at its timeout, and is not called more than about once a second."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pipecd.errors import Temporary
from pipecd.model.deployment import Stage
from pipecd.model.progress import STAGE_STARTED_AT, STAGE_TIMEOUT
from pipecd.model.stage import Again, Done, Outcome, Work
from pipecd.model.status import DeploymentStatus, StageStatus
from pipecd.piped.settings import StageSettings
from pipecd.platforms.registry import installed_platforms, load_platform
from pipecd.stages import STAGES
from tests.piped.memory_agent import memory_agent
from tests.virtual_clock import VirtualClock
from tests.world import pipeline

WITH_TIMEOUT = pipeline({"name": "SCRIPT_RUN", "timeout": "1m", "with": {"run": "true"}})
WITHOUT_TIMEOUT = pipeline({"name": "SCRIPT_RUN", "with": {"run": "true"}})
MAX_CALLS_A_MINUTE = StageSettings().max_immediate_calls + 62


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@dataclass
class FakeStage:
    """A stage that counts its calls."""

    behave: Callable[[Work[Any]], Awaitable[Outcome]]
    calls: int = 0

    async def __call__(self, work: Work[Any]) -> Outcome:
        self.calls += 1
        return await self.behave(work)


def returns(outcome: Outcome) -> Callable[[Work[Any]], Awaitable[Outcome]]:
    async def behave(_: Work[Any]) -> Outcome:
        return outcome

    return behave


def fails(error: Exception) -> Callable[[Work[Any]], Awaitable[Outcome]]:
    async def behave(_: Work[Any]) -> Outcome:
        raise error

    return behave


async def counts(work: Work[Any]) -> Outcome:
    """Stores something new at each call."""
    return Again(saved={"count": str(int(work.saved.get("count", "0")) + 1)})


async def hangs(_: Work[Any]) -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError


async def ignores_cancellation(_: Work[Any]) -> Outcome:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return Again()
    raise AssertionError


BEHAVIOURS = {
    "asks to be called at once": returns(Again()),
    "asks for a negative delay": returns(Again(after=-1.0)),
    "asks for a delay that is not a number": returns(Again(after=math.nan)),
    "asks for an endless delay": returns(Again(after=math.inf)),
    "asks for an hour": returns(Again(after=3600.0)),
    "stores something new at each call": counts,
    "hangs": hangs,
    "ignores that it is cancelled": ignores_cancellation,
    "fails temporarily": fails(Temporary("throttled")),
    "fails temporarily for an hour": fails(Temporary("throttled", after=3600.0)),
    "fails temporarily without a delay": fails(Temporary("throttled", after=0.0)),
}


@pytest.mark.parametrize("behave", BEHAVIOURS.values(), ids=BEHAVIOURS.keys())
async def test_a_stage_ends_at_its_timeout_if_it(
    tmp_path: Path, clock: VirtualClock, behave: Callable[[Work[Any]], Awaitable[Outcome]]
) -> None:
    stage = FakeStage(behave)
    agent = memory_agent(tmp_path, clock, WITH_TIMEOUT, stages={"SCRIPT_RUN": stage})
    async with agent.running() as task:
        await clock.advance(58)
        assert agent.deployment.stages[0].status is StageStatus.RUNNING
        await clock.advance(4)
        assert task.done()
    assert agent.deployment.stages[0].reason.startswith("the stage timed out after 1m")
    assert agent.deployment.status is DeploymentStatus.FAILURE
    assert stage.calls <= MAX_CALLS_A_MINUTE


@pytest.mark.parametrize("seconds", [-86_400.0, 86_400.0], ids=["back", "forward"])
async def test_a_stage_ends_at_its_timeout_if_the_clock_of_the_machine_is_set(
    tmp_path: Path, clock: VirtualClock, seconds: float
) -> None:
    agent = memory_agent(tmp_path, clock, WITH_TIMEOUT, stages={"SCRIPT_RUN": FakeStage(returns(Again()))})
    async with agent.running() as task:
        await clock.advance(30)
        clock.jump(seconds)
        await clock.advance(28)
        assert agent.deployment.stages[0].status is StageStatus.RUNNING
        await clock.advance(4)
        assert task.done()
    assert agent.deployment.stages[0].reason.startswith("the stage timed out after 1m")


ENDLESS = [name for name in BEHAVIOURS if "at once" in name or "number" in name or "new" in name]


@pytest.mark.parametrize("name", ENDLESS)
async def test_a_stage_without_a_timeout_is_called_once_a_second(
    tmp_path: Path, clock: VirtualClock, name: str
) -> None:
    stage = FakeStage(BEHAVIOURS[name])
    agent = memory_agent(tmp_path, clock, WITHOUT_TIMEOUT, stages={"SCRIPT_RUN": stage})
    async with agent.running() as task:
        await clock.advance(600)
        assert not task.done()
        agent.cancel()
        await clock.advance(2)
        assert task.done()
    assert stage.calls <= MAX_CALLS_A_MINUTE + 540
    assert agent.deployment.status is DeploymentStatus.CANCELLED


async def test_stages_that_store_each_of_their_effects_are_not_delayed(
    tmp_path: Path, clock: VirtualClock
) -> None:
    async def ten_effects(work: Work[Any]) -> Outcome:
        return Done() if work.saved.get("count") == "10" else await counts(work)

    agent = memory_agent(tmp_path, clock, WITH_TIMEOUT, stages={"SCRIPT_RUN": FakeStage(ten_effects)})
    async with agent.running() as task:
        # Only the log's end is waited for, which is sent in batches.
        await clock.advance(1)
        assert task.done()
    assert agent.deployment.status is DeploymentStatus.SUCCESS


#: All stages of all installed platforms.
ALL_STAGES = [
    (kind, name) for kind in installed_platforms() for name in sorted({*STAGES, *load_platform(kind).stages})
]


@pytest.mark.parametrize(("kind", "name"), ALL_STAGES)
async def test_every_stage_is_stopped_at_its_timeout_and_not_called_after_it(
    tmp_path: Path, clock: VirtualClock, kind: str, name: str
) -> None:
    fake, started_at = FakeStage(hangs), int(clock.now())
    metadata = {STAGE_STARTED_AT: str(started_at), STAGE_TIMEOUT: "60"}
    stage = Stage(id="s", name=name, index=0, status=StageStatus.RUNNING, predefined=True, metadata=metadata)
    agent = memory_agent(
        tmp_path,
        clock,
        WITH_TIMEOUT,
        planned=False,
        stages={name: fake},
        kind=kind,
    )
    agent.rollout.deployment = replace(agent.deployment, status=DeploymentStatus.RUNNING, stages=(stage,))
    async with agent.running() as task:
        await clock.advance(59)
        assert not task.done()
        await clock.advance(2)
        assert task.done()
    assert agent.deployment.stages[0].reason.startswith("the stage timed out after 1m")
    assert fake.calls == 1

    # The agent was killed, and the next process finds the stage running.
    agent.rollout.deployment = replace(agent.deployment, status=DeploymentStatus.RUNNING, stages=(stage,))
    async with agent.running() as task:
        await clock.advance(1)
        assert task.done()
    assert agent.deployment.stages[0].reason.startswith("the stage timed out after 1m")
    assert fake.calls == 1
