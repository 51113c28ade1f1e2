"""Each event watcher has its own result; the event is handled when all have one."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipecd import controlplane
from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.jobs import settle_events
from pipecd.controlplane.records.events import LIFETIME
from pipecd.controlplane.rpc.agent import report_event_results, report_event_watchers
from pipecd.controlplane.rpc.piped.events import list_events, report_statuses
from pipecd.controlplane.services import Services
from pipecd.controlplane.settings import RecordSettings
from pipecd.controlplane.store import Store
from pipecd.errors import NotFound, PermissionDenied, Temporary
from pipecd.schema.agent.events_pb2 import ListEventsRequest, ReportEventStatusesRequest
from pipecd.schema.model.event_pb2 import Event, EventResult, EventStatus
from pipecd.schema.model.git_path_pb2 import ApplicationGitRepository
from pipecd.schema.model.piped_pb2 import Piped, PipedKey
from pipecd.schema.pipecd.v1.agent_pb2 import ReportEventResultsRequest, ReportEventWatchersRequest
from tests.actors import TESTER
from tests.controlplane.server_fixture import ENCRYPTION_KEY, spec
from tests.virtual_clock import VirtualClock

KEY = "key-of-image"
SUCCESS, FAILURE, OUTDATED = EventStatus.EVENT_SUCCESS, EventStatus.EVENT_FAILURE, EventStatus.EVENT_OUTDATED
PENDING = EventStatus.EVENT_NOT_HANDLED


class World:
    def __init__(self, services: Services, clock: VirtualClock) -> None:
        self.services, self.clock = services, clock

    async def agent(self, name: str, *repositories: str, project: str = "shop") -> Agent:
        piped = Piped(
            id=name,
            name=name,
            project_id=project,
            keys=[PipedKey(hash="h")],
            repositories=[ApplicationGitRepository(id=repository) for repository in repositories],
        )
        await self.services.store.create(piped, by=TESTER)
        return Agent(actor=TESTER, project_id=project, piped_id=name, key_hash="h")

    async def event(self, id: str, project: str = "shop") -> None:
        now = self.services.now()
        record = Event(id=id, name="image", data="1", project_id=project, event_key=KEY, created_at=now)
        await self.services.store.create(record, by=TESTER)

    async def watch(self, agent: Agent, repository: str, *ids: str) -> None:
        watchers = [ReportEventWatchersRequest.Watcher(id=id, event_key=KEY) for id in ids]
        request = ReportEventWatchersRequest(repo_id=repository, watchers=watchers, piped_id="forged")
        await report_event_watchers(self.services, agent, request)

    async def report(
        self, agent: Agent, repository: str, id: str, status: EventStatus.ValueType, event: str = "e"
    ) -> Event:
        result = EventResult(
            piped_id="forged",
            repo_id=repository,
            watcher=id,
            status=status,
            description=f"{agent.piped_id} {id}",
            commit_hash="c0ffee",
        )
        request = ReportEventResultsRequest(
            results=[ReportEventResultsRequest.Result(event_id=event, result=result)]
        )
        await report_event_results(self.services, agent, request)
        return await self.get(event)

    async def get(self, id: str = "e") -> Event:
        return (await self.services.store.get(Event, id)).message

    async def settle(self) -> Event:
        await settle_events.run(self.services, TESTER)
        return await self.get()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = VirtualClock()
    options = controlplane.Options(encryption_key=ENCRYPTION_KEY, clock=clock)
    async with controlplane.open_services(spec(tmp_path), options) as services:
        yield World(services, clock)


async def test_agents_do_not_hide_an_event_from_one_another(world: World) -> None:
    first, second = await world.agent("first", "a", "b"), await world.agent("second", "c")
    await world.watch(first, "a", "x#0", "x#1")
    await world.watch(first, "b", "y#0")
    await world.watch(second, "c", "z#0")
    await world.event("e")
    for id, repository in (("x#0", "a"), ("x#1", "a"), ("y#0", "b")):
        assert (await world.report(first, repository, id, SUCCESS)).status == PENDING
    request = ListEventsRequest(status=ListEventsRequest.NOT_HANDLED)
    (listed,) = (await list_events(world.services, second, request)).events
    assert {(result.piped_id, result.repo_id, result.watcher) for result in listed.results} == {
        ("first", "a", "x#0"),
        ("first", "a", "x#1"),
        ("first", "b", "y#0"),
    }
    event = await world.report(second, "c", "z#0", FAILURE)
    assert (event.status, event.status_description) == (FAILURE, "second z#0")
    assert event.handled_at == event.updated_at == world.services.now()
    assert [result.commit_hash for result in event.results] == ["c0ffee"] * 4
    # A repetition after a kill replaces its own result and changes no final status.
    event = await world.report(second, "c", "z#0", SUCCESS)
    assert (event.status, len(event.results)) == (FAILURE, 4)


async def test_the_status_for_peers_prefers_failures_then_successes(world: World) -> None:
    agent = await world.agent("first", "a")
    await world.watch(agent, "a", "x#0", "x#1")
    await world.event("e")
    await world.report(agent, "a", "x#0", OUTDATED)
    event = await world.report(agent, "a", "x#1", SUCCESS)
    assert (event.status, event.status_description) == (SUCCESS, "first x#1")


async def test_event_watchers_that_are_gone_are_not_waited_for(world: World) -> None:
    """A disabled agent, a repository that its agent has no more, and an entry that was removed."""
    first, disabled = await world.agent("first", "a"), await world.agent("disabled", "c")
    await world.watch(first, "a", "x#0", "x#1")
    await world.watch(first, "removed", "y#0")
    await world.watch(disabled, "c", "z#0")
    await world.event("e")
    await world.report(first, "a", "x#0", SUCCESS)
    await world.clock.advance(100)
    assert (await world.settle()).status == PENDING
    await world.watch(first, "a", "x#0")
    assert (await world.settle()).status == PENDING

    def disable(piped: Piped) -> None:
        piped.disabled = True

    await world.services.store.update(Piped, "disabled", disable, by=TESTER)
    assert (await world.settle()).status == SUCCESS


async def test_an_event_that_no_agent_handles_is_outdated(world: World) -> None:
    agent = await world.agent("first", "a")
    await world.watch(agent, "a", "x#0", "x#1")
    await world.event("e")
    await world.event("half")
    await world.report(agent, "a", "x#0", SUCCESS, event="half")
    await world.clock.advance(LIFETIME - 10)
    assert (await world.settle()).status == PENDING
    await world.clock.advance(20)
    event = await world.settle()
    assert (event.status, event.status_description) == (OUTDATED, "No piped handled it within 7 days")
    assert (await world.get("half")).status == SUCCESS


async def test_events_that_cannot_be_settled_or_are_not_handled_delay_no_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is changed by others all the time, one that is deleted, and more than fit in a batch."""
    settings = replace(world.services.settings, records=RecordSettings(event_batch_size=2))
    world = World(replace(world.services, settings=settings), world.clock)
    agent = await world.agent("first", "a")
    await world.watch(agent, "a", "x#0", "gone#1")
    names = [f"a{number}" for number in range(5)]
    for name in names:
        await world.event(name)
    for name in ("busy", "deleted", "e"):
        await world.event(name)
        await world.report(agent, "a", "x#0", SUCCESS, event=name)
    await world.watch(agent, "a", "x#0")
    await world.clock.advance(100)
    update, tried = Store.update, []

    async def refuse(store: Store, type_: type[Any], id: str, *arguments: Any, **more: Any) -> Any:
        tried.append(id)
        if id == "busy":
            raise Temporary("too many writers at once")
        if id == "deleted":
            raise NotFound("event deleted does not exist")
        return await update(store, type_, id, *arguments, **more)

    monkeypatch.setattr(Store, "update", refuse)
    assert (await world.settle()).status == SUCCESS
    assert tried == ["busy", "deleted", "e"]
    assert (await world.get("busy")).status == PENDING
    monkeypatch.undo()
    await world.settle()
    assert (await world.get("busy")).status == SUCCESS
    assert (await world.get("a0")).status == PENDING


async def test_an_agent_of_pipecd_sets_the_status_at_once(world: World) -> None:
    ours, theirs = await world.agent("ours", "a"), await world.agent("theirs", "b")
    await world.watch(ours, "a", "x#0")
    await world.event("e")
    report = ReportEventStatusesRequest.Event(id="e", status=SUCCESS, status_description="done")
    await report_statuses(world.services, theirs, ReportEventStatusesRequest(events=[report]))
    event = await world.report(ours, "a", "x#0", FAILURE)
    assert (event.status, event.status_description, len(event.results)) == (SUCCESS, "done", 1)


async def test_results_of_another_project_are_refused(world: World) -> None:
    foreign = await world.agent("foreign", "a", project="other")
    await world.event("e")
    with pytest.raises(PermissionDenied):
        await world.report(foreign, "a", "x#0", SUCCESS)
