"""Leases, sessions, cached credentials and jobs in virtual time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
import structlog
from google.protobuf.message import Message

from pipecd import controlplane
from pipecd.controlplane import jobs
from pipecd.controlplane.auth import keys
from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.auth.credential_cache import CredentialCache
from pipecd.controlplane.auth.sessions import Lifetimes, Session, Sessions
from pipecd.controlplane.jobs import Job
from pipecd.controlplane.records import pipeds
from pipecd.controlplane.rpc.agent import beat
from pipecd.controlplane.rpc.identity import CallMetadata, authenticate_agent, authenticate_program
from pipecd.controlplane.rpc.watch import watch_agent
from pipecd.controlplane.services import Services
from pipecd.controlplane.settings import AuthSettings
from pipecd.controlplane.store import Record, Store, tables
from pipecd.controlplane.store.feed import Change
from pipecd.controlplane.store.kinds import DISCONNECTED, KINDS
from pipecd.controlplane.store.leases import piped_lease_name
from pipecd.controlplane.store.sessions import page
from pipecd.errors import Conflict, Refused, Unauthenticated
from pipecd.model.actor import Actor
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.piped_pb2 import Piped, PipedKey
from pipecd.schema.pipecd.v1.agent_pb2 import AgentChange, AgentWatchRequest, BeatRequest
from tests.actors import TESTER
from tests.contracts.migrated import create_sqlite_database
from tests.controlplane.server_fixture import DATABASE, ENCRYPTION_KEY, CallFailed, control_plane, spec
from tests.eventually import eventually
from tests.virtual_clock import VirtualClock

M = TypeVar("M", bound=Message)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def services(tmp_path: Path, clock: VirtualClock) -> AsyncIterator[Services]:
    options = controlplane.Options(encryption_key=ENCRYPTION_KEY, clock=clock)
    create_sqlite_database(tmp_path / DATABASE)
    async with controlplane.open_services(spec(tmp_path), options) as opened:
        yield opened


@pytest.fixture
async def caller(services: Services) -> Agent:
    """A registered agent."""
    piped = Piped(id="home", name="home", project_id="shop", keys=[PipedKey(hash="h")])
    await services.store.create(piped, by=TESTER)
    return Agent(actor=TESTER, project_id="shop", piped_id="home", key_hash="h")


async def test_a_lease_of_a_killed_process_passes_on_when_it_expires(
    services: Services, caller: Agent, clock: VirtualClock
) -> None:
    """The first process neither renews nor releases its lease, as after SIGKILL of both programs."""
    killed = watch_agent(services, caller, AgentWatchRequest(instance="killed"))
    assert (await anext(killed)).kind == AgentChange.LEASE_GRANTED
    started = clock.monotonic()
    successor = watch_agent(services, caller, AgentWatchRequest(instance="successor"))
    assert (await anext(successor)).kind == AgentChange.LEASE_HELD

    async def granted() -> None:
        while (await anext(successor)).kind != AgentChange.LEASE_GRANTED:
            pass

    waiting = asyncio.create_task(granted())
    while not waiting.done():
        sleeping = asyncio.create_task(clock.until_sleeping())
        await asyncio.wait([waiting, sleeping], return_when=asyncio.FIRST_COMPLETED)
        sleeping.cancel()
        await clock.advance(1.0)
    await waiting
    times = services.settings.watch
    assert times.lease_duration <= clock.monotonic() - started <= times.lease_duration + 2
    assert await services.store.leases.holder(piped_lease_name("home")) == "successor"
    await killed.aclose()
    assert await services.store.leases.holder(piped_lease_name("home")) == "successor"
    await successor.aclose()
    assert await services.store.leases.holder(piped_lease_name("home")) == ""


async def test_the_end_of_an_old_stream_leaves_the_lease_to_the_new_one(
    services: Services, caller: Agent, clock: VirtualClock
) -> None:
    """An agent reconnects before its broken connection is noticed; a standby must not take over."""
    lease = piped_lease_name("home")

    async def noticed(old: AsyncGenerator[AgentChange]) -> None:
        await old.aclose()

    async def renewed(old: AsyncGenerator[AgentChange]) -> None:
        with pytest.raises(StopAsyncIteration):
            for _ in range(5):
                await clock.run(anext(old))

    for end in (noticed, renewed):
        old, new = (watch_agent(services, caller, AgentWatchRequest(instance="one")) for _ in range(2))
        assert (await anext(old)).kind == AgentChange.LEASE_GRANTED
        assert (await anext(new)).kind == AgentChange.LEASE_GRANTED
        await end(old)
        assert await services.store.leases.holder(lease) == "one", end.__name__
        assert not await services.store.get_metadata(DISCONNECTED, "home"), "the agent is connected"
        standby = watch_agent(services, caller, AgentWatchRequest(instance="two"))
        assert (await anext(standby)).kind == AgentChange.LEASE_HELD
        await standby.aclose()
        assert await services.store.leases.holder(lease) == "one"
        await new.aclose()
        assert await services.store.leases.holder(lease) == ""
        assert await services.store.get_metadata(DISCONNECTED, "home")
        await services.store.database.write(
            lambda connection: connection.execute(tables.metadata_rows.delete())
        )


async def test_an_open_stream_keeps_its_lease_for_days(
    services: Services, caller: Agent, clock: VirtualClock
) -> None:
    """The agent hears something every 15 s, less often than its lease is renewed."""
    stream = watch_agent(services, caller, AgentWatchRequest(instance="one"))
    assert (await anext(stream)).kind == AgentChange.LEASE_GRANTED
    times = []
    for _ in range(50):
        assert (await clock.run(anext(stream))).kind == AgentChange.HEARTBEAT
        assert not await services.store.leases.acquire(piped_lease_name("home"), "two", 1)
        times.append(clock.monotonic())
    silences = [later - earlier for earlier, later in pairwise(times)]
    assert max(silences) <= 15
    assert min(silences) >= 1.5 * services.settings.watch.lease_renew_interval
    await stream.aclose()


async def test_an_agent_whose_loop_is_blocked_is_not_responding(
    services: Services, caller: Agent, clock: VirtualClock
) -> None:
    """Its stream stays open: threads of gRPC answer for it. A standby's heartbeats do not count."""
    piped = (await services.store.get(Piped, caller.piped_id)).message

    async def not_responding() -> list[str]:
        return await pipeds.find_not_responding(services, "shop", [piped])

    stream = watch_agent(services, caller, AgentWatchRequest(instance="one"))
    assert (await anext(stream)).kind == AgentChange.LEASE_GRANTED
    assert await not_responding() == [], "an older agent sends no heartbeats"
    await clock.run(beat(services, caller, BeatRequest(instance="one")))
    with services.store.feed.subscribe() as changes, structlog.testing.capture_logs() as logs:
        # It reads the database whenever time passes; the lease would expire while the stream waits for it.
        reading = asyncio.create_task(services.store.feed.run())
        while clock.monotonic() <= 50:
            await clock.run(anext(stream), own=True)
            await clock.run(beat(services, caller, BeatRequest(instance="standby")))
        assert await not_responding() == ["home"]
        (online,) = await pipeds.with_status(services, "shop", [piped])
        assert online.status == Piped.ONLINE, "PipeCD's programs know no other status"
        await clock.run(beat(services, caller, BeatRequest(instance="one")))
        await clock.run(anext(stream), own=True)
        assert await not_responding() == []
        presence = [await clock.run(changes.get()) for _ in range(2)]
        reading.cancel()
    assert {change.kind for change in presence} == {"piped"}, "the console reloads the agents"
    assert [line["event"] for line in logs if "respond" in line["event"]] == [
        "agent_not_responding",
        "agent_responding",
    ]
    await stream.aclose()
    assert await not_responding() == [], "it is offline"


async def start(sessions: Sessions, username: str = "ann", **claims: Any) -> Session:
    session = Session(project_id="shop", username=username, roles=("Admin",), **claims)
    return sessions.read(await sessions.start(session, address="10.0.0.1", by=TESTER))


async def test_a_session_ends_after_its_lifetime(services: Services, clock: VirtualClock) -> None:
    lifetimes = Lifetimes(absolute=3600, idle=0)
    sessions = Sessions(ENCRYPTION_KEY, services.store, clock, AuthSettings(), lifetimes)
    session = Session(project_id="shop", username="ann", roles=("Admin",))
    token = await sessions.start(session, by=TESTER)
    await clock.advance(3599)
    session = sessions.read(token)
    assert session.username == "ann"
    await sessions.check(session)
    await clock.advance(1)
    with pytest.raises(Unauthenticated, match="expired"):
        sessions.read(token)
    with pytest.raises(Unauthenticated, match="expired"):
        await sessions.check(session)
    assert await sessions.list_stored("shop") == []


async def test_a_session_that_is_not_used_ends(services: Services, clock: VirtualClock) -> None:
    lifetimes = Lifetimes(idle=3600)
    here, there = (
        Sessions(ENCRYPTION_KEY, services.store, clock, AuthSettings(), lifetimes) for _ in range(2)
    )
    session = await start(here)
    for _ in range(3):
        await clock.advance(3000)
        await here.check(session, "10.0.0.2")
    (stored,) = await here.list_stored("shop")
    assert (stored.last_seen_at, stored.started_at + 9000) == (int(clock.now()), int(clock.now()))
    assert (stored.address, stored.last_address) == ("10.0.0.1", "10.0.0.2")
    await clock.advance(3600)
    for sessions in (here, there):
        with pytest.raises(Unauthenticated, match="not used"):
            await sessions.check(session)
    assert await here.list_stored("shop") == []
    await here.prune()
    assert await page(services.store.database, "shop") == []


async def test_using_a_session_writes_every_five_minutes(
    services: Services, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await start(services.sessions)
    reads, writes = [], []
    read, write = services.store.database.rows, services.store.database.write

    async def rows(*arguments: Any) -> Any:
        reads.append(clock.now())
        return await read(*arguments)

    async def counted(*arguments: Any) -> Any:
        writes.append(clock.now())
        return await write(*arguments)

    monkeypatch.setattr(services.store.database, "rows", rows)
    monkeypatch.setattr(services.store.database, "write", counted)
    for _ in range(1200):
        await asyncio.gather(*(services.sessions.check(session) for _ in range(3)))
        await clock.advance(0.5)
    assert len(writes) == 1, "in 10 minutes, with 3,600 calls"
    assert len(reads) <= 3 * 600, "a replica reads a session at most every second"


async def test_a_session_is_not_valid_before_it_was_issued(services: Services) -> None:
    """The clocks of two replicas may differ; a token from the future is refused."""

    def at(now: float) -> Sessions:
        return Sessions(ENCRYPTION_KEY, services.store, VirtualClock(now=now), AuthSettings())

    token = await at(2_000.0).start(Session(project_id="shop", username="ann", roles=()), by=TESTER)
    with pytest.raises(Unauthenticated):
        at(1_000.0).read(token)


async def test_a_session_that_another_replica_ended_is_rejected_within_a_second(
    services: Services, clock: VirtualClock
) -> None:
    here, there = services.sessions, Sessions(ENCRYPTION_KEY, services.store, clock, AuthSettings())
    session = await start(here)
    await there.check(session)
    await here.end(session, by=TESTER)
    with pytest.raises(Unauthenticated):
        await here.check(session)
    await clock.advance(1)
    with pytest.raises(Unauthenticated, match="has ended"):
        await there.check(session)


async def test_the_change_feed_ends_a_session_at_other_replicas(
    services: Services, clock: VirtualClock
) -> None:
    settings = AuthSettings(credential_max_age=1e6)
    there = Sessions(ENCRYPTION_KEY, services.store, clock, settings, Lifetimes(absolute=10**7, idle=0))
    session = await start(services.sessions)
    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(services.store.feed.run())
        with services.store.feed.subscribe() as changes:

            async def is_reading() -> bool:
                await services.store.announce("probe", project_id="shop", id="probe")
                await clock.advance(0.5)
                return not changes.empty()

            await eventually(is_reading)
        await there.check(session)
        await services.sessions.end(session, by=TESTER)

        async def is_refused() -> bool:
            await clock.advance(0.5)
            try:
                await there.check(session)
            except Unauthenticated:
                return True
            return False

        await eventually(is_refused)
        reader.cancel()


async def test_a_user_has_a_limited_number_of_sessions(services: Services, clock: VirtualClock) -> None:
    sessions = Sessions(ENCRYPTION_KEY, services.store, clock, AuthSettings(max_sessions=3))
    first, second = await start(sessions), await start(sessions)
    await clock.advance(600)
    await start(sessions)
    other = await start(sessions, "bob")
    await sessions.check(first)
    await start(sessions)
    with pytest.raises(Unauthenticated, match="has ended"):
        await sessions.check(second)
    for session in (first, other):
        await sessions.check(session)
    assert len(await sessions.list_stored("shop", "ann")) == 3


async def test_a_use_at_one_server_keeps_the_session_at_the_others(
    services: Services, clock: VirtualClock
) -> None:
    settings, lifetimes = AuthSettings(session_seen_interval=300), Lifetimes(idle=1000)
    here, there = (
        Sessions(ENCRYPTION_KEY, services.store, clock, settings, lifetimes) for _ in ("here", "there")
    )
    session = await start(here)
    await there.check(session)
    for _ in range(4):
        await clock.advance(400)
        await here.check(session)
    await there.check(session)
    await clock.advance(1001)
    for server in (here, there):
        with pytest.raises(Unauthenticated, match="was not used"):
            await server.check(session)


async def test_users_of_the_same_name_have_sessions_of_their_own(
    services: Services, clock: VirtualClock
) -> None:
    sessions = Sessions(ENCRYPTION_KEY, services.store, clock, AuthSettings(max_sessions=2))

    async def sign_in(subject: str) -> Session:
        user = Session(project_id="shop", username="ann", roles=("Admin",), subject=subject)
        return await sessions.check(sessions.read(await sessions.start(user, by=TESTER)))

    first, _, other = await sign_in("1"), await sign_in("1"), await sign_in("2")
    assert first.is_of_user(await sessions.check(first)), "the other one has ended none of them"
    await sessions.confirm(first, replace(first, groups=("developers",)), by=TESTER)
    stored = [listed.session for listed in await sessions.list_stored("shop", "ann")]
    assert [session.is_of_user(first) for session in stored].count(True) == 2
    assert [session.is_of_user(other) for session in stored].count(True) == 1


async def test_a_new_encryption_key_ends_every_session(services: Services, clock: VirtualClock) -> None:
    token = await services.sessions.start(
        Session(project_id="shop", username="ann", roles=("Admin",)), by=TESTER
    )
    other = Sessions(ENCRYPTION_KEY[::-1], services.store, clock, AuthSettings())
    with pytest.raises(Unauthenticated, match="invalid"):
        other.read(token)
    assert await other.list_stored("shop") == []
    assert len(await services.sessions.list_stored("shop")) == 1


async def test_sessions_of_another_project_cannot_be_ended(services: Services) -> None:
    session = await start(services.sessions)
    assert await services.sessions.end_all("other", [session.id], by=TESTER) == 0
    await services.sessions.check(session)
    assert await services.sessions.end_all("shop", [session.id, session.id, "unknown"], by=TESTER) == 1


async def test_a_credential_that_another_replica_changes_is_cached_for_a_second(
    services: Services, clock: VirtualClock
) -> None:
    await services.store.create(Piped(id="p", project_id="shop", name="old"), by=TESTER)
    cache = CredentialCache(services.store, clock, AuthSettings(credential_max_age=1.0))
    assert (await cache.get(Piped, "p")).name == "old"
    writes = services.store.write_counts.copy()
    await services.store.update(Piped, "p", lambda piped: setattr(piped, "name", "new"), by=TESTER)
    assert (await cache.get(Piped, "p")).name == "new", "a write of this process"
    await services.store.update(Piped, "p", lambda piped: setattr(piped, "name", "newer"), by=TESTER)
    # As if another replica had written.
    services.store.write_counts = writes
    cache._cached[Piped, "p"] = (clock.monotonic(), writes[Piped], Piped(name="cached"))
    await clock.advance(0.9)
    assert (await cache.get(Piped, "p")).name == "cached"
    await clock.advance(0.2)
    assert (await cache.get(Piped, "p")).name == "newer"


async def test_a_credential_is_not_read_again_while_the_change_feed_reports_changes(
    services: Services, clock: VirtualClock
) -> None:
    store = CountedReads(services.store.database, clock, services.store.settings)
    await store.create(Piped(id="p", project_id="shop", name="old"), by=TESTER)
    cache = CredentialCache(store, clock, AuthSettings())
    reading = asyncio.create_task(store.feed.run())

    async def pass_time(seconds: float) -> None:
        """The feed reads the table every half second, and sleeps in between."""
        until = clock.monotonic() + seconds
        while clock.monotonic() < until:
            await clock.until_sleeping()
            await clock.advance(0.25)
        await clock.until_sleeping()

    await clock.until_sleeping()
    for _ in range(10):
        assert (await cache.get(Piped, "p")).name == "old"
        await pass_time(5)
    assert store.reads == 1
    # Another replica writes.
    await services.store.update(Piped, "p", lambda piped: setattr(piped, "name", "new"), by=TESTER)
    await pass_time(1)
    assert ((await cache.get(Piped, "p")).name, store.reads) == ("new", 2)
    await pass_time(61)
    await cache.get(Piped, "p")
    assert store.reads == 3, "it may have been changed by a program that does not announce it"
    await cancel(reading)
    await clock.advance(1.5)
    await cache.get(Piped, "p")
    assert store.reads == 4, "the feed reports nothing"


class CountedReads(Store):
    reads = 0

    async def get(self, kind: type[M], id: str) -> Record[M]:
        self.reads += 1
        return await super().get(kind, id)


class OldReads(Store):
    """Returns a record only after a change of it was reported that the read does not include."""

    async def get(self, kind: type[M], id: str) -> Record[M]:
        record = await super().get(kind, id)
        self.feed._publish(Change(kind=KINDS[kind].name, project_id="shop", id=id))
        return record


async def test_a_record_that_changes_while_it_is_read_is_not_cached(
    services: Services, clock: VirtualClock
) -> None:
    await services.store.create(Piped(id="p", project_id="shop", name="old"), by=TESTER)
    store = OldReads(services.store.database, clock, services.store.settings)
    cache = CredentialCache(store, clock, AuthSettings(credential_max_age=3600.0))
    assert (await cache.get(Piped, "p")).name == "old"
    await services.store.update(Piped, "p", lambda piped: setattr(piped, "name", "new"), by=TESTER)
    assert (await cache.get(Piped, "p")).name == "new"


async def test_a_job_runs_at_its_interval_and_survives_its_errors(
    services: Services, clock: VirtualClock
) -> None:
    runs: list[float] = []
    last = asyncio.Event()

    async def run(_: Services, by: Actor) -> None:
        assert (by.kind, by.id, by.action) == ("job", "count", "count")
        runs.append(clock.monotonic())
        if len(runs) == 1:
            raise Conflict("expected")
        if len(runs) == 2:
            raise ZeroDivisionError
        if len(runs) == 4:
            last.set()

    async def run_four_times() -> None:
        task = asyncio.create_task(jobs.run(services, [Job(name="count", interval=600.0, run=run)]))
        await last.wait()
        await cancel(task)

    # The job acquires a lease before each run: no time passes meanwhile.
    await clock.run(run_four_times(), own=True)
    assert all(540 <= later - earlier <= 660 for earlier, later in pairwise(runs[:4]))


async def test_a_change_runs_a_job_that_waits_for_it(services: Services, clock: VirtualClock) -> None:
    runs: list[float] = []

    async def run(_: Services, by: Actor) -> None:
        runs.append(clock.monotonic())

    job = Job(name="count", interval=600.0, run=run, wake_on=frozenset({"deployment"}))
    tasks = [asyncio.create_task(services.store.feed.run()), asyncio.create_task(jobs.run(services, [job]))]

    async def has_run(times: int) -> bool:
        await clock.advance(0.1)
        return len(runs) == times

    await eventually(partial(has_run, 1))
    await services.store.announce("application", project_id="p", id="1")
    for _ in range(20):
        await clock.until_sleeping(2)
        await clock.advance(0.1)
    assert len(runs) == 1
    await services.store.announce("deployment", project_id="p", id="1")
    await eventually(partial(has_run, 2))
    for task in tasks:
        await cancel(task)


async def test_a_job_runs_in_one_replica(services: Services, clock: VirtualClock) -> None:
    runs: list[str] = []

    def job(name: str) -> Job:
        async def run(_: Services, by: Actor) -> None:
            runs.append(name)

        return Job(name="count", interval=10.0, run=run)

    tasks = []
    for name in ("first", "second"):
        tasks.append(asyncio.create_task(jobs.run(services, [job(name)])))
        await clock.until_sleeping(len(tasks))
    assert runs == ["first"]
    await cancel(tasks[0])
    while runs[-1] != "second":
        await clock.advance(11.0)
        await clock.until_sleeping()
    assert clock.monotonic() <= 70, "the lease of the first one expires after 50 s"
    await cancel(tasks[1])


async def cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def call_metadata(authorization: str) -> CallMetadata:
    return CallMetadata(action="test", authorization=authorization)


async def test_an_api_key_expires(services: Services, clock: VirtualClock) -> None:
    key_id, key = keys.new_api_key()
    record = APIKey(id=key_id, name="ci", project_id="shop", key_hash=keys.hash_key(key))
    record.expires_at = keys.expires_at(services.now(), 3600, longest=0)
    await services.store.create(record, by=TESTER)
    await clock.advance(3599)
    assert (await authenticate_program(services, call_metadata(f"API-KEY {key}"))).key_id == key_id
    await clock.advance(1)
    with pytest.raises(Unauthenticated, match="API key ci has expired"):
        await authenticate_program(services, call_metadata(f"API-KEY {key}"))


async def test_a_key_of_an_agent_expires_and_ends_its_stream(services: Services, clock: VirtualClock) -> None:
    old, new = keys.new_piped_key(), keys.new_piped_key()
    expires_at = keys.expires_at(services.now(), 60, longest=0)
    old_key = PipedKey(hash=keys.hash_key(old), expires_at=expires_at)
    piped = Piped(
        id="home", name="home", project_id="shop", keys=[PipedKey(hash=keys.hash_key(new)), old_key]
    )
    await services.store.create(piped, by=TESTER)

    def token(key: str) -> CallMetadata:
        return call_metadata(f"PIPED-TOKEN shop,home,{key}")

    caller = await authenticate_agent(services, token(old))
    stream = watch_agent(services, caller, AgentWatchRequest(instance="one"))
    assert (await anext(stream)).kind == AgentChange.LEASE_GRANTED
    started = clock.monotonic()
    while (change := await clock.run(anext(stream))).kind == AgentChange.HEARTBEAT:
        pass
    assert change.kind == AgentChange.REVOKED
    assert 60 <= clock.monotonic() - started <= 60 + services.settings.watch.lease_renew_interval
    await stream.aclose()
    with pytest.raises(Unauthenticated, match="has expired; add a new key"):
        await authenticate_agent(services, token(old))
    assert (await authenticate_agent(services, token(new))).piped_id == "home"


@pytest.mark.parametrize(
    ("lifetime", "longest", "expected"), [(0, 0, 0), (10, 0, 110), (0, 20, 120), (10, 20, 110), (20, 20, 120)]
)
def test_a_key_is_valid_as_long_as_wanted_and_allowed(lifetime: int, longest: int, expected: int) -> None:
    assert keys.expires_at(100, lifetime, longest) == expected


def test_a_lifetime_that_is_not_allowed_is_refused() -> None:
    with pytest.raises(Refused, match="at most 20 s"):
        keys.expires_at(100, 21, longest=20)


async def test_the_configuration_limits_the_lifetime_of_new_keys(tmp_path: Path) -> None:
    limits = {"maxAPIKeyLifetime": "1h", "maxPipedKeyLifetime": "2h"}
    async with control_plane(tmp_path, keys=limits) as plane:
        await plane.register_piped()
        await plane.console.call("GenerateAPIKey", name="ci")
        with pytest.raises(CallFailed, match="at most 3600 s"):
            await plane.console.call("GenerateAPIKey", name="ci", key_lifetime=3601)
        (api_key,) = (await plane.console.call("ListAPIKeys")).keys
        assert api_key.expires_at - api_key.created_at == 3600
        (piped,) = (await plane.console.call("ListPipeds")).pipeds
        assert piped.keys[0].expires_at - piped.keys[0].created_at == 7200
        second = await plane.console.call("RecreatePipedKey", id=piped.id, key_lifetime=60)
        assert second.key
        (piped,) = (await plane.console.call("ListPipeds")).pipeds
        assert piped.keys[0].expires_at - piped.keys[0].created_at == 60
