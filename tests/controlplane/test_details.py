"""Details and logs of resources: from a user's call to the agent's stream, and back. Nothing is stored."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from grpc import aio

from pipecd.controlplane.agent_requests import AgentRequests
from pipecd.controlplane.auth.sessions import Session
from pipecd.controlplane.settings import AgentRequestSettings, Settings
from pipecd.controlplane.store import tables
from pipecd.errors import Temporary
from pipecd.model.access import ADMIN, EDITOR, VIEWER
from pipecd.schema.model.access_pb2 import ProjectRBACPolicy, ProjectRBACResource, ProjectRBACRole
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.project_pb2 import Project
from pipecd.schema.pipecd.v1.agent_pb2 import (
    AgentChange,
    AgentWatchRequest,
    AnswerResourceRequestRequest,
    AnswerResourceRequestResponse,
)
from pipecd.schema.pipecd.v1.agent_pb2_grpc import AgentServiceStub
from pipecd.schema.pipecd.v1.console_pb2 import FollowContainerLogRequest, SeeResourceRequest
from pipecd.schema.pipecd.v1.console_pb2_grpc import ConsoleServiceStub
from pipecd.schema.pipecd.v1.details_pb2 import LogLine, ResourceDetails, ResourceRequest
from tests.actors import TESTER
from tests.controlplane.server_fixture import ControlPlane, control_plane
from tests.virtual_clock import VirtualClock

TEAM, LABELS = "team", {"env": "dev"}
Failure = AnswerResourceRequestRequest.Failure
GET, LOG = ProjectRBACPolicy.GET, ProjectRBACResource.CONTAINER_LOG
Answer = Callable[[ResourceRequest], AnswerResourceRequestRequest]


def policy(kind: ProjectRBACResource.ResourceType.ValueType, **labels: str) -> ProjectRBACPolicy:
    return ProjectRBACPolicy(resources=[ProjectRBACResource(type=kind, labels=labels)], actions=[GET])


APPLICATIONS = policy(ProjectRBACResource.APPLICATION)
ROLES = [
    ProjectRBACRole(name="LogReader", policies=[APPLICATIONS, policy(LOG)]),
    ProjectRBACRole(name="ProdLogReader", policies=[APPLICATIONS, policy(LOG, env="prod")]),
    ProjectRBACRole(name="DevLogReader", policies=[APPLICATIONS, policy(LOG, env="dev")]),
]


@dataclass
class Plane:
    running: ControlPlane
    channel: aio.Channel
    piped_id: str
    agent_metadata: Any
    console: Any = field(init=False)
    agent: Any = field(init=False)

    def __post_init__(self) -> None:
        self.console = ConsoleServiceStub(self.channel)
        self.agent = AgentServiceStub(self.channel)

    async def cookie(self, role: str) -> Any:
        session = Session(project_id=TEAM, username="user", roles=(role,))
        return (("cookie", "token=" + await self.running.server.services.sessions.start(session, by=TESTER)),)

    async def see(self, role: str = VIEWER) -> ResourceDetails:
        request = SeeResourceRequest(application_id="app", resource_id="uid")
        details: ResourceDetails = await self.console.SeeResource(
            request, metadata=await self.cookie(role), timeout=30
        )
        return details

    async def follow(self, role: str = EDITOR) -> Any:
        request = FollowContainerLogRequest(application_id="app", resource_id="uid")
        return self.console.FollowContainerLog(request, metadata=await self.cookie(role), timeout=30)

    async def answer(self, id: str, **fields: Any) -> AnswerResourceRequestResponse:
        part = AnswerResourceRequestRequest(id=id, **fields)
        response: AnswerResourceRequestResponse = await self.agent.AnswerResourceRequest(
            part, metadata=self.agent_metadata, timeout=30
        )
        return response

    @asynccontextmanager
    async def connected(self, *, answers: bool = True) -> AsyncIterator["asyncio.Queue[AgentChange]"]:
        """The stream of an agent: what it is sent about requests."""
        received: asyncio.Queue[AgentChange] = asyncio.Queue()
        request = AgentWatchRequest(instance="i", answers_resource_requests=answers)
        stream = self.agent.Watch(request, metadata=self.agent_metadata)
        granted = await stream.read()
        assert granted.kind == AgentChange.LEASE_GRANTED

        async def read() -> None:
            while (change := await stream.read()) is not aio.EOF:
                if change.kind in (AgentChange.RESOURCE_REQUEST, AgentChange.RESOURCE_REQUEST_CANCELLED):
                    received.put_nowait(change)

        reader = asyncio.create_task(read())
        try:
            yield received
        finally:
            reader.cancel()
            stream.cancel()


@pytest.fixture
async def plane(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Plane]:
    """The parameter is how long an answer of an agent is waited for (seconds)."""
    limits = AgentRequestSettings(
        answer_timeout=getattr(request, "param", 15.0), log_heartbeat_interval=0.05, max_per_piped=2
    )
    async with (
        control_plane(tmp_path, settings=Settings(agent_requests=limits)) as running,
        aio.insecure_channel(running.address) as channel,
    ):
        store = running.server.services.store
        await store.create(Project(id=TEAM, rbac_roles=ROLES), by=TESTER)
        session = Session(project_id=TEAM, username="user", roles=(ADMIN,))
        running.console.http.cookies.clear()
        running.console.http.cookies.set(
            "token", await running.server.services.sessions.start(session, by=TESTER)
        )
        piped_id, key = await running.register_piped("home")
        await store.create(
            Application(id="app", name="shop", project_id=TEAM, piped_id=piped_id, labels=LABELS), by=TESTER
        )
        yield Plane(running, channel, piped_id, (("authorization", f"PIPED-TOKEN {TEAM},{piped_id},{key}"),))


async def failure(call: Any) -> tuple[str, str]:
    with pytest.raises(aio.AioRpcError) as raised:
        await call
    return raised.value.code().name, raised.value.details() or ""


async def test_details_come_from_the_agent(plane: Plane) -> None:
    async with plane.connected() as received:
        audit_before = await _audit_rows(plane)
        call = asyncio.create_task(plane.see())
        request = (await received.get()).resource_request
        assert (request.application_id, request.resource_id) == ("app", "uid")
        assert not request.HasField("log")
        response = await plane.answer(request.id, details={"live": "kind: Pod"}, done=True)
        assert not response.cancelled
        assert (await call).live == "kind: Pod"
        late = await plane.answer(request.id, details={"live": "again"}, done=True)
        assert late.cancelled
        assert received.empty(), "an answered request is not cancelled"
        assert await _audit_rows(plane) == audit_before, "reading is no change"


async def _audit_rows(plane: Plane) -> int:
    rows = await plane.running.server.services.store.database.rows(
        sa.select(sa.func.count()).where(tables.audit.c.record_kind != "session")
    )
    return int(rows[0][0])


async def test_a_failure_is_shown_in_the_agents_words(plane: Plane) -> None:
    async with plane.connected() as received:
        for kind, code in (
            (Failure.REFUSED, "INVALID_ARGUMENT"),
            (Failure.NOT_FOUND, "NOT_FOUND"),
            (Failure.TEMPORARY, "UNAVAILABLE"),
            (Failure.UNSUPPORTED, "UNIMPLEMENTED"),
        ):
            call = asyncio.create_task(plane.see())
            request = (await received.get()).resource_request
            await plane.answer(request.id, failure=kind, error="pod web is gone", done=True)
            assert await failure(call) == (code, "pod web is gone")


async def test_without_an_agent_that_answers_a_sentence_comes_at_once(plane: Plane) -> None:
    """PipeCD's own agent has no stream, and an older one of ours does not know the requests."""
    code, text = await failure(plane.see())
    assert (code, text) == (
        "UNAVAILABLE",
        "piped home is not connected; details are shown when it is",
    )
    async with plane.connected(answers=False):
        code, text = await failure(plane.see())
        assert code == "UNIMPLEMENTED"
        assert "does not offer details of resources" in text
        assert (await failure((await plane.follow()).read()))[0] == "UNIMPLEMENTED"


@pytest.mark.parametrize("plane", [0.5], indirect=True)
async def test_a_silent_agent_is_waited_for_with_a_limit(plane: Plane) -> None:
    async with plane.connected() as received:
        code, text = await failure(plane.see())
        assert (code, text) == ("UNAVAILABLE", "the piped has not answered within 0.5 s; try again")
        request = (await received.get()).resource_request
        cancelled = await received.get()
        assert (cancelled.kind, cancelled.id) == (AgentChange.RESOURCE_REQUEST_CANCELLED, request.id)


async def test_a_log_is_followed_until_its_reader_leaves(plane: Plane) -> None:
    async with plane.connected() as received:
        stream = await plane.follow()
        reading = asyncio.create_task(stream.read())
        request = (await received.get()).resource_request
        assert request.HasField("log")
        await plane.answer(request.id, lines=[LogLine(time="2026-01-01T00:00:00Z", text="first")])
        assert [line.text for line in (await reading).lines] == ["first"]
        assert list((await stream.read()).lines) == [], "a heartbeat"
        stream.cancel()
        assert (await received.get()).id == request.id
        assert (await plane.answer(request.id, lines=[LogLine(text="second")])).cancelled


async def test_a_log_ends_with_the_container(plane: Plane) -> None:
    async with plane.connected() as received:
        stream = await plane.follow()
        reading = asyncio.create_task(stream.read())
        request = (await received.get()).resource_request
        await plane.answer(request.id, lines=[LogLine(text="last")], done=True)
        assert [line.text for line in (await reading).lines] == ["last"]
        assert await stream.read() is grpc.aio.EOF


async def test_a_log_breaks_off_when_its_agent_disconnects(plane: Plane) -> None:
    async with plane.connected() as received:
        stream = await plane.follow()
        reading = asyncio.create_task(stream.read())
        request = (await received.get()).resource_request
        await plane.answer(request.id, lines=[LogLine(text="first")])
        await reading
    with pytest.raises(aio.AioRpcError) as raised:
        while True:
            await stream.read()
    assert (raised.value.code().name, raised.value.details()) == ("UNAVAILABLE", "the piped disconnected")


async def test_logs_need_their_own_right(plane: Plane) -> None:
    async with plane.connected() as received:
        for role in (VIEWER, "ProdLogReader"):
            code, text = await failure((await plane.follow(role)).read())
            assert code == "PERMISSION_DENIED", role
            assert "ask an administrator" in text, role
        assert received.empty()
        for role in (ADMIN, EDITOR, "LogReader", "DevLogReader"):
            reading = asyncio.create_task((await plane.follow(role)).read())
            request = (await received.get()).resource_request
            await plane.answer(request.id, lines=[LogLine(text=role)], done=True)
            assert [line.text for line in (await reading).lines] == [role]


async def test_a_log_ends_when_its_reader_loses_the_right(plane: Plane) -> None:
    async with plane.connected() as received:
        stream = await plane.follow("LogReader")
        reading = asyncio.create_task(stream.read())
        request = (await received.get()).resource_request
        await plane.answer(request.id)
        await reading

        def take_rights(project: Project) -> None:
            del project.rbac_roles[:]

        await plane.running.server.services.store.update(Project, TEAM, take_rights, by=TESTER)
        with pytest.raises(aio.AioRpcError) as raised:
            while True:
                await stream.read()
        assert raised.value.code().name == "PERMISSION_DENIED"
        assert (await received.get()).id == request.id


async def test_open_requests_are_limited(plane: Plane) -> None:
    async with plane.connected() as received:
        streams = [await plane.follow() for _ in range(2)]
        reads = [asyncio.create_task(stream.read()) for stream in streams]
        for _ in range(2):
            await plane.answer((await received.get()).resource_request.id)
        await asyncio.gather(*reads)
        code, text = await failure(plane.see())
        assert code == "UNAVAILABLE"
        assert "2 requests for details and logs of resources are open for this piped" in text
        streams[0].cancel()
        await received.get()
        call = asyncio.create_task(plane.see())
        request = (await received.get()).resource_request
        await plane.answer(request.id, details={"live": "a"}, done=True)
        assert (await call).live == "a"


def requests(clock: VirtualClock, **limits: Any) -> AgentRequests:
    return AgentRequests(clock, AgentRequestSettings(**limits))


async def test_the_answer_of_another_agent_is_ignored() -> None:
    exchange = requests(VirtualClock())
    async with exchange.connect("home", lambda: None) as connection:
        await exchange.set_available("home", connection, available=True)
        async with exchange.open(ResourceRequest(), project_id=TEAM, piped_id="home") as opened:
            (sent,) = connection.take()
            part = AnswerResourceRequestRequest(id=sent.resource_request.id, done=True)
            assert not await exchange.answer("other", part)
            assert opened.parts.empty()
            assert await exchange.answer("home", part)


async def test_a_reader_that_does_not_read_ends_the_request() -> None:
    clock = VirtualClock()
    exchange = requests(clock, read_timeout=15.0)
    async with exchange.connect("home", lambda: None) as connection:
        await exchange.set_available("home", connection, available=True)
        async with exchange.open(ResourceRequest(), project_id=TEAM, piped_id="home") as opened:
            (sent,) = connection.take()
            part = AnswerResourceRequestRequest(id=sent.resource_request.id)
            while not opened.parts.full():
                assert await exchange.answer("home", part)
            waiting = asyncio.create_task(exchange.answer("home", part))
            await clock.advance(14)
            assert not waiting.done()
            await clock.advance(2)
            assert not await waiting
            with pytest.raises(Temporary):
                await opened.next_part()


async def test_requests_go_to_the_process_with_the_lease() -> None:
    """A second process of an agent waits on its stream, and takes nothing from the first."""
    exchange = requests(VirtualClock())
    async with exchange.connect("home", lambda: None) as first:
        await exchange.set_available("home", first, available=True)
        async with exchange.connect("home", lambda: None) as second:
            await exchange.set_available("home", second, available=False)
        assert await exchange.can_answer("home")
        async with exchange.open(ResourceRequest(), project_id=TEAM, piped_id="home") as opened:
            await exchange.set_available("home", first, available=False)
            assert not await exchange.can_answer("home")
            with pytest.raises(Temporary):
                await opened.next_part()
