"""Workers run an application's deployments one after another, and retry after errors with growing delays."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import grpc
import pytest
import structlog.testing

from pipecd.errors import PermissionDenied, PipecdError
from pipecd.model.application import Application
from pipecd.model.deployment import Deployment
from pipecd.model.progress import Finish
from pipecd.model.status import DeploymentStatus
from pipecd.piped.deploy.call_limit import CallLimit
from pipecd.piped.deploy.workers import Workers
from pipecd.piped.session.lease import Lease
from pipecd.piped.settings import RolloutSettings, StageSettings
from pipecd.schema.agent.applications_pb2 import ListApplicationsResponse
from pipecd.schema.pipecd.v1.pin_pb2 import ApplicationPin
from tests.piped.memory_agent import MemoryAgent, application_message, memory_agent
from tests.virtual_clock import VirtualClock
from tests.world import pipeline

FILE = pipeline({"name": "WAIT"})
RETRY = RolloutSettings().worker_retry


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


class Plans:
    """Plans deployments: before each one ends, its number of attempts in `failures` fail with `error`."""

    def __init__(
        self, failures: Sequence[int], error: Exception, clock: VirtualClock, duration: float = 0.0
    ) -> None:
        self._outcomes = iter([outcome for number in failures for outcome in (*[error] * number, None)])
        self._clock, self._duration = clock, duration
        self.succeeded_at: list[float] = []

    async def __call__(self, deployment: Deployment, application: Application) -> Finish:
        await self._clock.sleep(self._duration)
        if error := next(self._outcomes):
            raise error
        self.succeeded_at.append(self._clock.monotonic())
        return Finish(status=DeploymentStatus.FAILURE, reason="planned")


@asynccontextmanager
async def working(agent: MemoryAgent) -> AsyncIterator[asyncio.Task[None]]:
    for event in agent.view._loaded.values():
        event.set()
    agent.view.add_deployment(agent.deployment)
    task = asyncio.create_task(Workers(agent.services).dispatch())
    try:
        yield task
    finally:
        task.cancel()


@pytest.mark.parametrize("error", [PipecdError("rejected"), ValueError("a bug")])
async def test_delays_after_errors_grow(tmp_path: Path, clock: VirtualClock, error: Exception) -> None:
    agent = memory_agent(tmp_path, clock, FILE, planned=False, plan=Plans([1_000_000], error, clock))
    with structlog.testing.capture_logs():
        async with working(agent) as task:
            await clock.advance(24 * 3600)
            assert not task.done()
    gaps = [after - before for before, after in pairwise(agent.planner.at)]
    assert 24 * 60 < len(gaps) < 24 * 60 * 2 * 1.5
    assert max(gaps) <= RETRY.cap


async def test_after_a_success_the_delay_is_short_again(tmp_path: Path, clock: VirtualClock) -> None:
    plans = Plans([30, 2], PipecdError("rejected"), clock)
    agent = memory_agent(tmp_path, clock, FILE, planned=False, plan=plans)
    async with working(agent):
        agent.view.add_deployment(replace(agent.deployment, id="next"))
        await clock.advance(3600)
    first, second = plans.succeeded_at
    assert first > 300
    assert second - first <= 3 * RETRY.base
    assert not agent.view.deployments


async def test_an_error_after_a_long_run_is_another_error(tmp_path: Path, clock: VirtualClock) -> None:
    """A worker that fails once an hour does not wait for a minute each time."""
    plans = Plans([20], PipecdError("rejected"), clock, duration=3600.0)
    agent = memory_agent(tmp_path, clock, FILE, planned=False, plan=plans)
    async with working(agent):
        await clock.advance(20 * 3600 + 21 * RETRY.base)
    assert max(after - before for before, after in pairwise(agent.planner.at)) <= 3600 + RETRY.base


async def test_a_deployment_that_is_not_accessible_is_left_to_the_next_listing(
    tmp_path: Path, clock: VirtualClock
) -> None:
    plans = Plans([1], PermissionDenied("not yours"), clock)
    agent = memory_agent(tmp_path, clock, FILE, planned=False, plan=plans)
    async with working(agent):
        await clock.advance(60)
    assert len(agent.planner.at) == 1
    assert not agent.view.deployments


async def test_a_deployment_that_waited_for_a_pinned_rollback_is_cancelled(
    tmp_path: Path, clock: VirtualClock
) -> None:
    """Also if the agent does not know the pin yet when the rollback, of an older commit, ends."""
    plans = Plans([0, 0], PipecdError("unused"), clock)
    agent = memory_agent(tmp_path, clock, FILE, planned=False, plan=plans)
    application = application_message(agent.deployment)
    pin = ApplicationPin(commit_hash="b" * 40, deployment_id="earlier", by="ada")
    application.pin.CopyFrom(pin)
    agent.calls.answers["ListApplications"] = lambda _: ListApplicationsResponse(applications=[application])
    async with working(agent):
        agent.view.add_deployment(replace(agent.deployment, id="next"))
        await clock.advance(60)
    assert len(agent.planner.at) == 1
    (cancelled,) = [
        request
        for request in agent.calls.requests("ReportDeploymentCompleted")
        if request.status == DeploymentStatus.CANCELLED
    ]
    assert cancelled.deployment_id == "next"
    assert cancelled.status_reason.startswith("The application was pinned to commit bbbbbbb by ada")
    assert not agent.view.deployments


async def test_a_deployment_that_waits_for_its_chain_lets_others_of_its_commit_go_first(
    tmp_path: Path, clock: VirtualClock
) -> None:
    """Two chains with the same applications in opposite order do not wait for each other."""
    planned: list[str] = []

    async def plan(deployment: Deployment, application: Application) -> Finish | None:
        if deployment.id == "waits" and "next" not in planned:
            return None
        planned.append(deployment.id)
        return Finish(status=DeploymentStatus.SUCCESS, reason="planned")

    agent = memory_agent(tmp_path, clock, FILE, planned=False, plan=plan, id="waits")
    async with working(agent):
        await clock.advance(30)
        assert not planned
        agent.view.add_deployment(replace(agent.deployment, id="next"))
        await clock.advance(30)
    assert planned == ["next", "waits"]
    assert len(agent.planner.at) < 30


async def test_without_the_lease_all_workers_stop_and_with_it_they_start_again(
    tmp_path: Path, clock: VirtualClock
) -> None:
    agent = memory_agent(tmp_path, clock, FILE, planned=False)
    async with working(agent):
        await clock.advance(600)
        agent.services.leadership.set_lease(Lease.HELD)
        await clock.advance(1)
        stopped = len(agent.planner.at)
        await clock.advance(600)
        assert len(agent.planner.at) == stopped
        agent.services.leadership.set_lease(Lease.GRANTED)
        await clock.advance(1)
        assert len(agent.planner.at) > stopped


async def test_a_record_that_cannot_be_read_is_retried_with_growing_delays(
    tmp_path: Path, clock: VirtualClock
) -> None:
    agent = memory_agent(tmp_path, clock, FILE, planned=False)
    agent.calls.refuse["GetDeployment"] = grpc.StatusCode.UNAUTHENTICATED
    async with working(agent):
        await clock.advance(3600)
    assert 60 < len(agent.calls.requests("GetDeployment")) < 200


async def test_a_stage_is_called_once_a_second_after_a_burst(clock: VirtualClock) -> None:
    limit, calls = CallLimit(clock, StageSettings()), 0

    async def stage_without_delay() -> None:
        nonlocal calls
        while True:
            calls += 1
            await clock.sleep(limit.delay())

    task = asyncio.create_task(stage_without_delay())
    await clock.advance(0.9)
    assert calls == 21
    await clock.advance(3600)
    assert calls == 21 + 3600
    task.cancel()


async def test_a_stage_that_waits_between_its_calls_is_never_delayed(clock: VirtualClock) -> None:
    limit = CallLimit(clock, StageSettings())
    for _ in range(100):
        assert limit.delay() == 0
        await clock.advance(2)
    assert [limit.delay() for _ in range(20)] == [0] * 20
