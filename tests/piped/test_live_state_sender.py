"""Live states as the control plane gets them: whole, or as events that lead to the same state."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import pytest

from pipecd.controlplane.records.live_state import apply_events
from pipecd.controlplane.settings import RecordSettings
from pipecd.errors import PipecdError
from pipecd.model.resource import Health, Resource
from pipecd.piped.observe.live_state_sender import MAX_EVENTS, RESEND_INTERVAL, LiveStateSender, digest_of
from pipecd.schema.agent.live_state_pb2 import (
    ReportApplicationLiveStateEventsResponse,
    ReportApplicationLiveStateResponse,
)
from pipecd.schema.model.live_state_pb2 import ApplicationLiveStateSnapshot
from pipecd.wire import snapshot_to
from tests.model.samples import deployment
from tests.piped.memory import Calls, memory_client
from tests.stages.stage_runner import application
from tests.virtual_clock import VirtualClock

SNAPSHOT, EVENTS = "ReportApplicationLiveState", "ReportApplicationLiveStateEvents"
APPLICATION = replace(application(deployment()), kind="KUBERNETES")


@dataclass
class ControlPlane:
    """Keeps the state as the control plane does. A response may be lost after the call had its effect."""

    clock: VirtualClock
    calls: Calls = field(default_factory=Calls)
    state: ApplicationLiveStateSnapshot | None = None
    loses_response: bool = False

    def __post_init__(self) -> None:
        self.sender = LiveStateSender(memory_client(self.calls, self.clock), self.clock)
        self.calls.answers = {SNAPSHOT: self.put, EVENTS: self.apply}

    def put(self, request: Any) -> Any:
        self.state = request.snapshot
        self.answer()
        return ReportApplicationLiveStateResponse()

    def apply(self, request: Any) -> Any:
        if self.state is None:
            failed = [event.id for event in request.kubernetes_events]
            return ReportApplicationLiveStateEventsResponse(failed_ids=failed)
        apply_events(self.state, request.kubernetes_events, max_resources=RecordSettings().max_resources)
        self.answer()
        return ReportApplicationLiveStateEventsResponse()

    def answer(self) -> None:
        if self.loses_response:
            raise grpc.aio.AioRpcError(
                grpc.StatusCode.INVALID_ARGUMENT, grpc.aio.Metadata(), grpc.aio.Metadata()
            )

    async def send(self, resources: Sequence[Resource]) -> list[str]:
        """Returns the calls that were made."""
        before = len(self.calls.calls)
        await self.sender.send(APPLICATION, resources, digest_of(APPLICATION, resources))
        return [name for name, _ in self.calls.calls[before:]]

    def content(self) -> tuple[Any, Any]:
        assert self.state is not None
        return content(self.state)


def content(snapshot: ApplicationLiveStateSnapshot) -> tuple[Any, Any]:
    resources = {
        resource.id: (resource.name, resource.health_status, tuple(resource.parent_ids))
        for resource in snapshot.kubernetes.resources
    }
    return resources, snapshot.health_status


def pods(count: int) -> list[Resource]:
    return [
        Resource(id=str(n), api_version="v1", kind="Pod", name=f"web-{n}", health=Health.HEALTHY)
        for n in range(count)
    ]


@pytest.fixture
async def plane() -> ControlPlane:
    return ControlPlane(VirtualClock())


async def test_few_changes_are_sent_as_events(plane: ControlPlane) -> None:
    before = pods(4)
    assert await plane.send(before) == [SNAPSHOT]
    assert await plane.send(before) == []
    broken = replace(before[1], health=Health.UNHEALTHY, health_reason="no image")
    after = [before[0], broken, before[3]]
    assert await plane.send(after) == [SNAPSHOT], "2 of 3 resources"
    repaired = [before[0], before[1], before[3]]
    assert await plane.send(repaired) == [EVENTS]
    assert plane.content() == content(snapshot_to(APPLICATION, repaired, now=1))


async def test_many_changes_are_sent_as_a_whole(plane: ControlPlane) -> None:
    before = pods(10 * MAX_EVENTS)
    changed = [replace(pod, health=Health.UNHEALTHY) for pod in before[: MAX_EVENTS + 1]]
    await plane.send(before)
    assert await plane.send([*changed, *before[MAX_EVENTS + 1 :]]) == [SNAPSHOT]
    assert await plane.send([*changed[:MAX_EVENTS], *before[MAX_EVENTS:]]) == [EVENTS]


async def test_a_whole_state_is_sent_every_ten_minutes_also_between_events(plane: ControlPlane) -> None:
    states = [pods(4), [*pods(3), replace(pods(4)[3], health=Health.UNHEALTHY)]]
    await plane.send(states[0])
    calls = []
    for minute in range(12):
        await plane.clock.advance(RESEND_INTERVAL / 10)
        calls += await plane.send(states[(minute + 1) % 2])
    assert calls == [*[EVENTS] * 9, SNAPSHOT, EVENTS, EVENTS]


@pytest.mark.parametrize("lost", ["request", "response"])
async def test_after_a_lost_event_the_whole_state_is_sent(plane: ControlPlane, lost: str) -> None:
    before = pods(4)
    after = [replace(before[0], health=Health.UNHEALTHY), *before[1:]]
    await plane.send(before)
    plane.loses_response = lost == "response"
    plane.calls.refuse = {EVENTS: grpc.StatusCode.INVALID_ARGUMENT} if lost == "request" else {}
    with pytest.raises(PipecdError):
        await plane.send(after)
    plane.loses_response, plane.calls.refuse = False, {}
    assert await plane.send(after) == [SNAPSHOT]
    assert plane.content() == content(snapshot_to(APPLICATION, after, now=1))


async def test_a_control_plane_that_lost_the_state_gets_it_at_once(plane: ControlPlane) -> None:
    before = pods(4)
    await plane.send(before)
    plane.state = None
    assert await plane.send(before[:3]) == [EVENTS, SNAPSHOT]
    assert plane.content() == content(snapshot_to(APPLICATION, before[:3], now=1))


async def test_versions_increase_also_when_the_clock_is_set_back(plane: ControlPlane) -> None:
    versions = []
    for number in range(6):
        await plane.send([*pods(4), replace(pods(1)[0], id="x", name=f"x-{number}")])
        assert plane.state
        versions.append((plane.state.version.timestamp, plane.state.version.index))
        plane.clock.jump(-3600)
    assert versions == sorted(set(versions))


async def test_kinds_without_events_are_sent_as_a_whole(plane: ControlPlane) -> None:
    ecs = replace(APPLICATION, kind="ECS")
    await plane.sender.send(ecs, pods(4), digest_of(ecs, pods(4)))
    await plane.sender.send(ecs, pods(3), digest_of(ecs, pods(3)))
    assert [name for name, _ in plane.calls.calls] == [SNAPSHOT, SNAPSHOT]


async def test_events_lead_to_the_same_state_as_snapshots(plane: ControlPlane) -> None:
    chance = random.Random(7)
    resources = {pod.id: pod for pod in pods(12)}
    for step in range(300):
        for _ in range(chance.choice((0, 1, 1, 2, 8))):
            uid = str(chance.randrange(20))
            if chance.random() < 0.3:
                resources.pop(uid, None)
            else:
                health = chance.choice(list(Health))
                resources[uid] = replace(pods(1)[0], id=uid, name=f"web-{step}", health=health)
        plane.loses_response = chance.random() < 0.1
        if chance.random() < 0.05:
            plane.state = None
        order = sorted(resources.values(), key=lambda resource: resource.name)
        try:
            calls = await plane.send(order)
        except PipecdError:
            continue
        if calls:
            assert plane.content() == content(snapshot_to(APPLICATION, order, now=1))
    assert plane.calls.requests(EVENTS) and plane.calls.requests(SNAPSHOT)
