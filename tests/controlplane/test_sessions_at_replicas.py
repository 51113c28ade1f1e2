"""What ends access at one replica ends it at the others, by a notice of the database alone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import pytest
import sqlalchemy as sa
from grpc import aio

from pipecd.controlplane.auth.sessions import DEFAULT_LIFETIMES, Session
from pipecd.controlplane.rpc.identity import CallMetadata, authenticate_agent, authenticate_program
from pipecd.controlplane.settings import AuthSettings, FeedSettings, Settings, StoreSettings
from pipecd.errors import Unauthenticated
from pipecd.schema.model.access_pb2 import ProjectRBACPolicy, ProjectRBACResource, ProjectRBACRole
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.project_pb2 import Project
from pipecd.schema.pipecd.v1.console_pb2 import ConsoleChange, ConsoleWatchRequest
from pipecd.schema.pipecd.v1.console_pb2_grpc import ConsoleServiceStub
from tests.actors import TESTER
from tests.contracts.conftest import empty_postgres_url as empty_postgres_url
from tests.contracts.conftest import postgres_url as postgres_url
from tests.contracts.test_notifications import wait_until_listening
from tests.controlplane.console_changes import kinds_reported
from tests.controlplane.server_fixture import (
    PASSWORD,
    PASSWORD_HASH,
    USER,
    CallFailed,
    Console,
    ControlPlane,
    control_plane,
)
from tests.controlplane.test_sessions import is_signed_in
from tests.eventually import eventually
from tests.raw_grpc import read
from tests.skippable_clock import SkippableClock

TEAM = "team"
CHANGED_HASH = PASSWORD_HASH.replace("m=8", "m=9")
#: Nothing is read again in time: neither a session by its age, nor changes by polling.
SETTINGS = Settings(
    auth=AuthSettings(credential_max_age=3600.0),
    store=StoreSettings(feed=FeedSettings(poll_interval=3600.0, listen_retry_interval=0.01)),
)


async def sign_out(console: Console) -> None:
    assert (await console.http.post(f"{console.base}/auth/logout")).status_code == 303


async def end_sessions(console: Console) -> None:
    ids = [session.id for session in (await console.call("ListSessions")).sessions]
    await console.call("EndSessions", ids=ids)


@dataclass(frozen=True, kw_only=True)
class Replicas:
    here: ControlPlane
    there: ControlPlane


@pytest.fixture
def clock() -> SkippableClock:
    return SkippableClock()


@pytest.fixture
async def replicas(empty_postgres_url: str, tmp_path: Path, clock: SkippableClock) -> AsyncIterator[Replicas]:
    """With a project in the store, each of which knows the changes of the other."""
    url = sa.make_url(empty_postgres_url)
    config = {"url": "postgresql://postgres@", "database": f"{url.database}?host={url.query['host']}"}
    datastore = {"type": "POSTGRESQL", "config": config}
    async with AsyncExitStack() as stack:
        here, there = [
            await stack.enter_async_context(
                control_plane(tmp_path, clock=clock, settings=SETTINGS, datastore=datastore, sign_in=False)
            )
            for _ in range(2)
        ]
        with there.server.services.store.feed.subscribe() as changes:
            await wait_until_listening(changes, here.server.services.store)
        project = Project(id=TEAM, created_at=1, updated_at=1)
        project.static_admin.username, project.static_admin.password_hash = USER, PASSWORD_HASH
        resource = ProjectRBACResource(type=ProjectRBACResource.APPLICATION)
        policy = ProjectRBACPolicy(resources=[resource], actions=[ProjectRBACPolicy.LIST])
        project.rbac_roles.append(ProjectRBACRole(name="watcher", policies=[policy]))
        await here.server.services.store.create(project, by=TESTER)
        yield Replicas(here=here, there=there)


async def eventually_refused(call: Callable[[], Awaitable[object]]) -> None:
    async def is_refused() -> bool:
        try:
            await call()
        except (CallFailed, Unauthenticated):
            return True
        return False

    await eventually(is_refused, within=60)


async def test_a_session_ends_at_all_replicas(replicas: Replicas) -> None:
    for end in (sign_out, end_sessions):
        here, there = Console(replicas.here.url), Console(replicas.there.url)
        async with here.http, there.http:
            await here.sign_in(project=TEAM)
            there.http.cookies.set("token", here.http.cookies["token"])
            assert await is_signed_in(there), "it is known there"
            await end(here)
            await eventually_refused(partial(there.call, "GetMe"))


async def test_a_changed_credential_is_refused_by_all_replicas(replicas: Replicas) -> None:
    here, there = replicas.here.server.services, replicas.there.server.services
    admin = Console(replicas.here.url)
    async with admin.http:
        await admin.sign_in(project=TEAM)
        agent = await admin.call("RegisterPiped", name="home")
        token = f"PIPED-TOKEN {TEAM},{agent.id},{agent.key}"
        as_agent = partial(authenticate_agent, there, CallMetadata(action="", authorization=token))
        await as_agent()
        await admin.call("DisablePiped", piped_id=agent.id)
        await eventually_refused(as_agent)

        key = (await admin.call("GenerateAPIKey", name="ci", role=APIKey.READ_ONLY)).key
        metadata = CallMetadata(action="", authorization=f"API-KEY {key}")
        as_program = partial(authenticate_program, there, metadata)
        await as_program()
        await admin.call("DisableAPIKey", id=key.partition(".")[0])
        await eventually_refused(as_program)

        elsewhere = Console(replicas.there.url)
        async with elsewhere.http:
            await elsewhere.sign_in(project=TEAM)

            def change_password(project: Project) -> None:
                project.static_admin.password_hash = CHANGED_HASH

            await here.store.update(Project, TEAM, change_password, by=TESTER)
            await eventually_refused(partial(elsewhere.call, "GetMe"))


async def test_a_session_is_idle_if_it_is_used_at_no_replica(
    replicas: Replicas, clock: SkippableClock
) -> None:
    """Calls and open streams at either replica keep it alive at both; without them, it ends at both."""
    almost = DEFAULT_LIFETIMES.idle - 600
    here, there = Console(replicas.here.url), Console(replicas.there.url)
    async with here.http, there.http, aio.insecure_channel(replicas.there.address) as channel:
        await here.sign_in(project=TEAM)
        token = here.http.cookies["token"]
        there.http.cookies.set("token", token)
        for console in (there, here, there):
            clock.skip(almost)
            assert await is_signed_in(console), "it was used at the other replica"
        stream = ConsoleServiceStub(channel).Watch(
            ConsoleWatchRequest(), metadata=(("cookie", f"token={token}"),)
        )
        for _ in range(2):
            await read(stream)
            clock.skip(almost)
        assert await is_signed_in(here), "a tab was open, whose stream is at the other replica"
        stream.cancel()
        clock.skip(DEFAULT_LIFETIMES.idle)
        for console in (here, there):
            with pytest.raises(CallFailed, match="session has ended"):
                await console.call("GetMe")


async def test_guesses_at_all_replicas_are_counted_together(replicas: Replicas) -> None:
    """Of 40 at once, ten are evaluated, and the right password after them is not, at either replica."""
    consoles = [Console(plane.url) for plane in (replicas.here, replicas.there)]
    async with consoles[0].http, consoles[1].http:

        async def guess(console: Console, password: str) -> str:
            form = {"project": TEAM, "username": USER, "password": password}
            response = await console.http.post(f"{console.base}/auth/login/static", data=form)
            return unquote(response.headers["set-cookie"])

        guesses = [guess(consoles[number % 2], f"guess {number}") for number in range(40)]
        answers = await asyncio.gather(*guesses)
        assert sum("password is wrong" in answer for answer in answers) == 10
        assert sum("Too many failed attempts" in answer for answer in answers) == 30
        for console in consoles:
            assert "Too many failed attempts" in await guess(console, PASSWORD)


async def test_a_stream_at_another_replica_follows_its_roles(replicas: Replicas) -> None:
    """At once: what the stream reads then is not the role before the change."""
    admin, there, store = Console(replicas.here.url), replicas.there, replicas.here.server.services.store
    colleague = await there.server.services.sessions.start(
        Session(project_id=TEAM, username="ann", roles=("watcher",)), by=TESTER
    )
    async with admin.http, aio.insecure_channel(there.address) as channel:
        await admin.sign_in(project=TEAM)
        stub = ConsoleServiceStub(channel)
        stream = stub.Watch(ConsoleWatchRequest(), metadata=(("cookie", f"token={colleague}"),))
        assert (await read(stream)).kind == ConsoleChange.HEARTBEAT

        reported = partial(kinds_reported, stream, store, TEAM, within=60)
        assert ConsoleChange.APPLICATION in await reported("before")
        await admin.call("DeleteProjectRBACRole", name="watcher")
        assert ConsoleChange.APPLICATION not in await reported("after")
