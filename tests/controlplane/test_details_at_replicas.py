"""Details and logs when user, agent's stream and agent's answers reach different replicas."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from grpc import aio

from pipecd.controlplane.auth.sessions import Session
from pipecd.controlplane.settings import AgentRequestSettings, RelaySettings, Settings
from pipecd.controlplane.store.kinds import REPLICA_MESSAGE
from pipecd.model.access import ADMIN
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.project_pb2 import Project
from pipecd.schema.pipecd.v1.agent_pb2 import AgentChange, AnswerResourceRequestRequest
from pipecd.schema.pipecd.v1.agent_pb2_grpc import AgentServiceStub
from pipecd.schema.pipecd.v1.console_pb2_grpc import ConsoleServiceStub
from pipecd.schema.pipecd.v1.details_pb2 import LogLine, ResourceDetails
from tests.actors import TESTER
from tests.contracts.conftest import empty_postgres_url as empty_postgres_url
from tests.contracts.conftest import postgres_url as postgres_url
from tests.controlplane.server_fixture import control_plane
from tests.controlplane.test_details import TEAM, Plane, failure
from tests.eventually import eventually

SETTINGS = Settings(
    agent_requests=AgentRequestSettings(log_heartbeat_interval=0.05),
    relay=RelaySettings(lease_renew_interval=0.05, lease_duration=10.0),
)


@dataclass
class Replicas:
    #: Its user is at the first replica, its agent's stream and answers at the second one.
    plane: Plane
    #: The agent's answers, at the first one.
    answers_at_user: Any
    #: Ends the second replica.
    stop_second: AsyncExitStack

    async def unread_messages(self) -> int:
        services = self.plane.running.server.services
        relay_id = services.agent_requests._relay.id  # type: ignore[union-attr]
        return len(await services.store.list_metadata(REPLICA_MESSAGE, relay_id))


@pytest.fixture
async def replicas(empty_postgres_url: str, tmp_path: Path) -> AsyncIterator[Replicas]:
    url = sa.make_url(empty_postgres_url)
    config = {"url": "postgresql://postgres@", "database": f"{url.database}?host={url.query['host']}"}
    datastore = {"type": "POSTGRESQL", "config": config}
    async with AsyncExitStack() as stack, AsyncExitStack() as second_stack:
        first = await stack.enter_async_context(
            control_plane(tmp_path, settings=SETTINGS, datastore=datastore)
        )
        second = await second_stack.enter_async_context(
            control_plane(tmp_path, settings=SETTINGS, datastore=datastore)
        )
        user = await stack.enter_async_context(aio.insecure_channel(first.address))
        agent = await stack.enter_async_context(aio.insecure_channel(second.address))
        store, sessions = first.server.services.store, first.server.services.sessions
        await store.create(Project(id=TEAM), by=TESTER)
        first.console.http.cookies.clear()
        session = Session(project_id=TEAM, username="user", roles=(ADMIN,))
        first.console.http.cookies.set("token", await sessions.start(session, by=TESTER))
        piped_id, key = await first.register_piped("home")
        await store.create(Application(id="app", name="shop", project_id=TEAM, piped_id=piped_id), by=TESTER)
        metadata = (("authorization", f"PIPED-TOKEN {TEAM},{piped_id},{key}"),)
        plane = Plane(first, agent, piped_id, metadata)
        plane.console = ConsoleServiceStub(user)
        for running in (first, second):
            relay = running.server.services.agent_requests._relay
            assert relay is not None
            await eventually(lambda relay=relay: relay.is_alive(relay.id))  # type: ignore[misc]
        at_user = AgentServiceStub(user)
        yield Replicas(plane, at_user, second_stack)


async def test_details_pass_between_replicas(replicas: Replicas) -> None:
    """Wherever the agent's answer arrives."""
    plane = replicas.plane
    async with plane.connected() as received:
        for at_user in (False, True):
            call = asyncio.create_task(plane.see())
            request = (await received.get()).resource_request
            assert (request.application_id, request.resource_id) == ("app", "uid")
            part = AnswerResourceRequestRequest(
                id=request.id, details=ResourceDetails(live="kind: Pod"), done=True
            )
            stub = replicas.answers_at_user if at_user else plane.agent
            response = await stub.AnswerResourceRequest(part, metadata=plane.agent_metadata, timeout=30)
            assert not response.cancelled
            assert (await call).live == "kind: Pod"
            late = await plane.answer(request.id, done=True)
            assert late.cancelled
        assert received.empty(), "answered requests are not cancelled"

    async def all_read() -> bool:
        return await replicas.unread_messages() == 0

    await eventually(all_read)


async def test_a_log_is_followed_through_another_replica_until_its_reader_leaves(replicas: Replicas) -> None:
    plane = replicas.plane
    async with plane.connected() as received:
        stream = await plane.follow(ADMIN)
        request = (await received.get()).resource_request
        for number in range(3):
            response = await plane.answer(request.id, lines=[LogLine(text=f"line {number}")])
            assert not response.cancelled
        lines: list[str] = []
        while len(lines) < 3:
            lines += [line.text for line in (await stream.read()).lines]
        assert lines == ["line 0", "line 1", "line 2"]
        stream.cancel()
        cancelled = await received.get()
        assert (cancelled.kind, cancelled.id) == (AgentChange.RESOURCE_REQUEST_CANCELLED, request.id)
        assert (await plane.answer(request.id, lines=[LogLine(text="late")])).cancelled


async def test_the_end_of_the_agents_stream_or_of_its_replica_ends_the_request(replicas: Replicas) -> None:
    plane = replicas.plane
    async with plane.connected() as received:
        call = asyncio.create_task(failure(plane.see()))
        await received.get()
    assert await call == ("UNAVAILABLE", "the piped disconnected")

    async def not_connected() -> bool:
        return (await failure(plane.see()))[1] == "the piped is not connected"

    await eventually(not_connected)
    async with plane.connected() as received:
        stream = await plane.follow(ADMIN)
        await received.get()
        await replicas.stop_second.aclose()

        async def read_to_end() -> None:
            while await stream.read() is not aio.EOF:
                pass

        assert await failure(read_to_end()) == ("UNAVAILABLE", "the piped disconnected")


async def test_an_answer_for_a_replica_that_does_not_exist_is_not_wanted(replicas: Replicas) -> None:
    assert (await replicas.plane.answer(f"{'0' * 16}.{'1' * 32}", done=True)).cancelled
    assert (await replicas.plane.answer(f"../{'1' * 32}", done=True)).cancelled
