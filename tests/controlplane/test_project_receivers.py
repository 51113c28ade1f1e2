"""Receivers of projects: they are notified when an agent is offline, and when it is back."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from grpc import aio

from pipecd.controlplane.jobs import JOBS, watch_agents
from pipecd.controlplane.notifications.presence import OFFLINE_AFTER, Presence
from pipecd.controlplane.notifications.sender import LEASE, Sender
from pipecd.controlplane.services import Services
from pipecd.controlplane.settings import NotificationSettings, Settings, WatchSettings
from pipecd.controlplane.store import outbox, tables
from pipecd.controlplane.store.kinds import PRESENCE
from pipecd.controlplane.store.secret_fields import REDACTED
from pipecd.errors import ConfigError
from pipecd.schema.agent import pipeds_pb2
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.project_pb2 import Project, ProjectStaticUser
from pipecd.schema.pipecd.v1.notifications_pb2 import (
    EmailReceiver,
    ProjectReceiver,
    SlackReceiver,
    WebhookReceiver,
)
from tests.controlplane.server_fixture import (
    PASSWORD,
    PASSWORD_HASH,
    PROJECT,
    USER,
    CallFailed,
    Console,
    ControlPlane,
    control_plane,
    spec,
)
from tests.controlplane.test_agents import Agent
from tests.eventually import eventually
from tests.pipectl.pipectl_process import Pipectl
from tests.piped.receiver_server import ReceiverServer, verify_standard_webhook
from tests.skippable_clock import SkippableClock

SIGNING_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ADMIN = {"username": USER, "passwordHash": PASSWORD_HASH}
#: Leases must not expire when a test lets time pass.
SETTINGS = Settings(
    notifications=NotificationSettings(interval=0.02), watch=WatchSettings(lease_duration=100_000.0)
)
JOB = next(job for job in JOBS if job.name == "watch-agents")


@dataclass
class Watched:
    """A control plane whose checks and clock the test drives, and an agent."""

    plane: ControlPlane
    agent: Agent
    clock: SkippableClock
    started_at: float

    @property
    def services(self) -> Services:
        return self.plane.server.services

    async def report(self) -> None:
        """The agent shows that it is online, as PipeCD's does."""
        await self.agent.call("ReportStat", pipeds_pb2.ReportStatRequest(piped_stats=b"up 1\n"))

    async def watch(self, seconds: float) -> None:
        """Let time pass, with checks at their usual interval."""
        for _ in range(int(seconds / JOB.interval)):
            self.clock.skip(JOB.interval)
            await self.check()

    async def check(self) -> None:
        await watch_agents.run(self.services, JOB.actor)

    @asynccontextmanager
    async def sending(self, holder: str = "one") -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(Sender(self.services, holder).run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])


@asynccontextmanager
async def watched(
    folder: Path, receivers: Sequence[Mapping[str, Any]], *, with_jobs: bool = False
) -> AsyncIterator[Watched]:
    clock = SkippableClock()
    projects = [{"id": PROJECT, "staticAdmin": ADMIN, "notifications": {"receivers": receivers}}]
    async with control_plane(
        folder, clock=clock, with_jobs=with_jobs, settings=SETTINGS, projects=projects
    ) as plane:
        piped_id, key = await plane.register_piped("home")
        async with aio.insecure_channel(plane.address) as channel:
            yield Watched(plane, Agent(channel, piped_id, key), clock, clock.now())


async def test_an_agent_that_died_is_reported_to_every_receiver_and_when_it_is_back(tmp_path: Path) -> None:
    hangs = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hangs.wait()
        writer.close()

    hanging = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = hanging.sockets[0].getsockname()[1]
    with ReceiverServer() as server:
        receivers = [
            {"name": "hangs", "webhook": {"url": f"http://127.0.0.1:{port}"}},
            {"name": "hook", "webhook": {"url": f"{server.url}/secret-path", "signingKey": SIGNING_KEY}},
            {"name": "cloud", "webhook": {"url": server.url, "format": "cloudevents"}},
        ]
        async with watched(tmp_path, receivers) as w:
            await w.check()
            await w.report()
            await w.watch(60)
            await w.report()
            await w.watch(100)
            assert server.requests == [] and await outbox.waiting(w.services.store) == {}
            stored = await w.services.store.get_metadata(PRESENCE, PROJECT)
            assert stored
            await w.watch(30)
            # A run that was killed before it stored what it had noticed is repeated: nothing is sent twice.
            await w.services.store.put_metadata(PRESENCE, PROJECT, PROJECT, stored[0], by=JOB.actor)
            await w.check()
            # The first answers of a receiver that is overloaded.
            server.replies = [(503, {"Retry-After": "130"}, ""), (503, {"Retry-After": "130"}, "")]
            async with w.sending():
                await eventually(lambda: failed(w, "hook", "cloud"))
                assert len(server.requests) == 2
                # Not the whole time: what the test itself takes passes as well.
                w.clock.skip(60)
                await w.report()
                await w.check()
                # Both failed messages wait, in order.
                await eventually(lambda: is_waiting(w, {"hangs": 2, "hook": 2, "cloud": 2}))
                assert len(server.requests) == 2
                w.clock.skip(75)
                await eventually(lambda: is_waiting(w, {"hangs": 2}))
            await check_requests(w, server)
            await check_statuses(w)
    hangs.set()
    hanging.close()


async def arrived(server: ReceiverServer, count: int) -> bool:
    return len(server.requests) >= count


async def failed(w: Watched, *receivers: str) -> bool:
    results = await outbox.results(w.services.store, PROJECT, receivers)
    return all(result.failed_at for result in results.values())


async def is_waiting(w: Watched, expected: Mapping[str, int]) -> bool:
    counts = await outbox.waiting(w.services.store)
    return counts == {(PROJECT, name): count for name, count in expected.items()}


async def check_requests(w: Watched, server: ReceiverServer) -> None:
    signed = [request for request in server.requests if request.path == "/secret-path"]
    events = [request for request in server.requests if request.path != "/secret-path"]
    assert [request.json["Type"] for request in signed] == [302, 302, 303]
    assert signed[0].json["Metadata"]["name"] == "home"
    assert all(verify_standard_webhook(request, SIGNING_KEY, w.clock.now()) for request in signed)
    identities = [request.headers["webhook-id"] for request in signed]
    assert identities[0] == identities[1] != identities[2]
    offline, again, online = (request.json for request in events)
    assert offline == again and offline["type"] == "dev.pipecd.piped.offline"
    assert offline["source"] == f"/projects/{PROJECT}/pipeds/{w.agent.id}"
    assert offline["data"]["title"] == "Agent home is offline"
    assert offline["data"]["link"] == f"http://console.example/settings/piped?project={PROJECT}"
    assert online["type"] == "dev.pipecd.piped.online" and "It was offline from" in online["data"]["text"]


async def check_statuses(w: Watched) -> None:
    response = await w.plane.console.call("ListProjectReceivers")
    statuses = {receiver.name: receiver for receiver in response.receivers}
    assert response.read_only and "secret-path" not in str(response)
    assert statuses["hook"].succeeded_at > 0 and "503" in statuses["hook"].error
    assert statuses["hook"].destination == "127.0.0.1" and statuses["hook"].waiting == 0
    assert statuses["hangs"].waiting == 2 and not response.settings
    # The audit log says which receivers the file has.
    rows = await w.services.store.database.rows(sa.select(tables.audit.c.after, tables.audit.c.record_kind))
    (configured,) = [row.after for row in rows if row.record_kind == "configured_project"]
    assert '"hook"' in configured and "secret-path" not in str(rows)


async def test_a_receiver_gets_the_events_and_agents_that_it_names(tmp_path: Path) -> None:
    hook = {"url": "http://127.0.0.1:1"}
    receivers: list[dict[str, Any]] = [
        {"name": "all", "webhook": hook},
        {"name": "offline", "webhook": hook, "events": ["EVENT_PIPED_OFFLINE"]},
        {"name": "online", "webhook": hook, "events": ["PIPED_ONLINE"]},
        {"name": "another agent", "webhook": hook, "pipedIDs": ["another"]},
    ]
    async with watched(tmp_path, receivers) as w:
        await w.report()
        await w.check()
        await w.watch(140)
        assert await is_waiting(w, {"all": 1, "offline": 1})
        await w.report()
        await w.check()
        assert await is_waiting(w, {"all": 2, "offline": 1, "online": 1})
        listed = (await w.plane.console.call("ListProjectReceivers")).receivers
        assert [(list(each.events), list(each.piped_ids)) for each in listed] == [
            ([], []),
            (["PIPED_OFFLINE"], []),
            (["PIPED_ONLINE"], []),
            ([], ["another"]),
        ]


async def test_disabled_agents_and_restarts_of_the_control_plane_are_not_reported(tmp_path: Path) -> None:
    receivers = [{"name": "hook", "webhook": {"url": "http://127.0.0.1:1"}}]
    async with watched(tmp_path, receivers) as w:
        await w.report()
        await w.check()
        await w.plane.console.call("DisablePiped", piped_id=w.agent.id)
        await w.watch(600)
        await w.plane.console.call("EnablePiped", piped_id=w.agent.id)
        await w.watch(600)
        # A control plane that was away for an hour: a stream that ended with it is not the agent's death.
        await w.report()
        await w.watch(20)
        w.clock.skip(3600)
        await w.watch(100)
        stream = w.agent.watch("process")
        await stream.read()
        await w.watch(600)
        stream.cancel()
        assert await outbox.waiting(w.services.store) == {}


async def test_a_running_control_plane_notices_and_sends(tmp_path: Path) -> None:
    """Its jobs do it, at their interval."""

    async def is_checked_after(at: float) -> bool:
        stored = await w.services.store.get_metadata(PRESENCE, PROJECT)
        return stored is not None and Presence.from_json(stored[0]).checked_at > at

    with ReceiverServer() as server:
        hook = {"name": "hook", "webhook": {"url": server.url}}
        async with watched(tmp_path, [hook], with_jobs=True) as w:
            await w.report()
            while not server.requests:
                at = w.clock.now()
                w.clock.skip(JOB.interval * 1.1)
                await eventually(partial(is_checked_after, at))
                if at > w.started_at + OFFLINE_AFTER * 2:
                    await eventually(lambda: arrived(server, 1))
        assert server.requests[0].json["Metadata"]["name"] == "home"


async def test_another_replica_goes_on_when_one_stops(tmp_path: Path) -> None:
    with ReceiverServer() as server:
        async with watched(tmp_path, [{"name": "hook", "webhook": {"url": server.url}}]) as w:
            store = w.services.store
            body = await some_body(w)
            async with w.sending("one"):
                await outbox.add(store, PROJECT, ["hook"], "first", body, w.clock.now())
                await eventually(lambda: is_waiting(w, {}))
                async with w.sending("two"):
                    assert await store.leases.holder(LEASE) == "one"
            assert await store.leases.holder(LEASE) == ""
            await outbox.add(store, PROJECT, ["hook", "removed"], "second", body, w.clock.now())
            # The same occurrence, noticed by both.
            await outbox.add(store, PROJECT, ["hook"], "second", body, w.clock.now())
            async with w.sending("two"):
                await eventually(lambda: is_waiting(w, {}))
            assert len(server.requests) == 2
            # One that ends before the receiver has answered: it may have got the message, and gets it again.
            gate = threading.Event()
            server.answer = lambda _: (204 if gate.wait(60) else 500, {}, "")
            await outbox.add(store, PROJECT, ["hook"], "third", body, w.clock.now())
            async with w.sending("one"):
                await eventually(lambda: arrived(server, 3))
            gate.set()
            async with w.sending("two"):
                await eventually(lambda: is_waiting(w, {}))
            assert len(server.requests) == 4
            assert server.requests[2].body == server.requests[3].body
            assert server.requests[2].headers["webhook-id"] == server.requests[3].headers["webhook-id"]


async def some_body(w: Watched) -> str:
    await w.report()
    await w.check()
    await w.watch(140)
    message = await outbox.next_message(w.services.store, PROJECT, "hook")
    assert message
    await outbox.finish(w.services.store, message)
    return message.body


async def test_only_so_many_messages_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with control_plane(tmp_path, with_jobs=False) as plane:
        store = plane.server.services.store
        for number in range(outbox.MAX_WAITING + 3):
            await outbox.add(store, PROJECT, ["hook"], f"key {number}", "{}", float(number))
        assert await outbox.waiting(store) == {(PROJECT, "hook"): outbox.MAX_WAITING}
        oldest = await outbox.next_message(store, PROJECT, "hook")
        assert oldest and oldest.key == "key 3"
        await outbox.prune(store, outbox.RETENTION + 2)
        rows = await store.database.rows(
            sa.select(tables.outbox.c.key).order_by(tables.outbox.c.seq).limit(1)
        )
        assert rows[0].key == "key 2"


TEAM = "team"


async def test_receivers_are_configured_in_the_console_and_tested(tmp_path: Path) -> None:
    with ReceiverServer(answer=lambda request: (204 if "fine" in request.path else 400, {}, "no")) as server:
        allowed = {"allowedNetworks": ["127.0.0.0/8"]}
        async with control_plane(tmp_path, with_jobs=False, notifications=allowed) as plane:
            team = await console_of_team(plane)
            hook = ProjectReceiver(
                name="ops",
                webhook=WebhookReceiver(url=f"{server.url}/fine-secret", signing_key=SIGNING_KEY),
            )
            await team.call("AddProjectReceiver", receiver=hook)
            with pytest.raises(CallFailed, match="already exists"):
                await team.call("AddProjectReceiver", receiver=hook)
            await team.call("TestProjectReceiver", name="ops")
            assert verify_standard_webhook(server.requests[0], SIGNING_KEY, plane.server.services.now())
            await check_secrets(plane, team)
            # The key stays as it is, and the URL is another one.
            changed = ProjectReceiver(
                name="ops",
                webhook=WebhookReceiver(url=server.url, signing_key=REDACTED, format="cloudevents"),
            )
            await team.call("UpdateProjectReceiver", receiver=changed)
            with pytest.raises(CallFailed, match=r"127\.0\.0\.1 answered 400: no"):
                await team.call("TestProjectReceiver", name="ops")
            request = server.requests[-1]
            assert verify_standard_webhook(request, SIGNING_KEY, plane.server.services.now())
            assert request.json["type"] == "dev.pipecd.notification.test"
            assert request.json["source"] == f"/projects/{TEAM}"
            (status,) = (await team.call("ListProjectReceivers")).receivers
            assert status.failed_at >= status.succeeded_at > 0 and "answered 400" in status.error
            await check_refused(plane, team)
            await check_pipectl(plane, team, tmp_path)
            await team.call("DeleteProjectReceiver", name="ops")
            assert not (await team.call("ListProjectReceivers")).receivers
            # Another receiver of that name begins from the start.
            await team.call("AddProjectReceiver", receiver=hook)
            (status,) = (await team.call("ListProjectReceivers")).receivers
            assert status.succeeded_at == status.failed_at == 0
            await team.http.aclose()


async def console_of_team(plane: ControlPlane) -> Console:
    """Signed in to a project of the store."""
    admin = ProjectStaticUser(username=USER, password_hash=PASSWORD_HASH)
    await plane.server.services.store.create(Project(id=TEAM, static_admin=admin), by=JOB.actor)
    console = Console(plane.url)
    await console.sign_in(TEAM, USER, PASSWORD)
    return console


async def check_secrets(plane: ControlPlane, team: Console) -> None:
    """No answer, row or log of the control plane contains the URL or the key."""
    listed = await team.call("ListProjectReceivers")
    assert listed.settings[0].webhook.url == REDACTED and not listed.read_only
    answers = [listed, await team.call("GetProject"), await team.call("SeeProject")]
    stored = (await plane.server.services.store.get(Project, TEAM)).message
    rows = await plane.server.services.store.database.rows(sa.select(tables.audit))
    for text in (*map(str, answers), str(stored), str(rows)):
        assert "fine-secret" not in text and SIGNING_KEY[6:] not in text
    audited = [row for row in rows if row.action.endswith("ProjectReceiver")]
    assert [row.action.rpartition("/")[2] for row in audited] == ["AddProjectReceiver", "TestProjectReceiver"]
    assert "receivers[ops]" in audited[0].after and USER in audited[0].actor_name


REFUSED = [
    (
        ProjectReceiver(name="r", webhook=WebhookReceiver(url="https://a"), events=["DEPLOYMENT_FAILED"]),
        "DEPLOYMENT_FAILED is an event of agents",
    ),
    (
        ProjectReceiver(name="r", webhook=WebhookReceiver(url="https://a"), piped_ids=["missing"]),
        "missing",
    ),
    (ProjectReceiver(name="r"), "exactly one of slack, webhook, email and apprise"),
    (ProjectReceiver(name="r", slack=SlackReceiver(oauth_token="xoxb-1")), "channelID is required"),
    (ProjectReceiver(name="r", slack=SlackReceiver(hook_url="file:///etc/passwd")), "begins? with https"),
    (ProjectReceiver(name="r", webhook=WebhookReceiver(url="ftp://a")), "begins with https"),
    (
        ProjectReceiver(name="r", webhook=WebhookReceiver(url="https://a", signing_key="whsec_secret")),
        "signingKey is not base64",
    ),
    (
        ProjectReceiver(name="r", webhook=WebhookReceiver(url="https://a", signature_key="a\r\nb")),
        "signature_key",
    ),
    (ProjectReceiver(name="r", email=EmailReceiver(host="h", to=["x"])), "is not an e-mail address"),
]


async def check_refused(plane: ControlPlane, team: Console) -> None:
    for receiver, reason in REFUSED:
        with pytest.raises(CallFailed, match=reason) as error:
            await team.call("AddProjectReceiver", receiver=receiver)
        assert "secret" not in error.value.text and "xoxb" not in error.value.text
    for method in ("DeleteProjectReceiver", "TestProjectReceiver"):
        with pytest.raises(CallFailed, match="has no receiver 'other'"):
            await team.call(method, name="other")
    with pytest.raises(CallFailed, match="has no receiver 'r'"):
        await team.call(
            "UpdateProjectReceiver",
            receiver=ProjectReceiver(name="r", webhook=WebhookReceiver(url="https://a")),
        )
    # A project of the configuration file is changed there, and has its own receivers.
    with pytest.raises(CallFailed, match="configuration file"):
        await plane.console.call(
            "AddProjectReceiver",
            receiver=ProjectReceiver(name="r", webhook=WebhookReceiver(url="https://a")),
        )
    with pytest.raises(CallFailed, match="has no receiver 'ops'"):
        await plane.console.call("TestProjectReceiver", name="ops")


async def check_pipectl(plane: ControlPlane, team: Console, folder: Path) -> None:
    key = (await team.call("GenerateAPIKey", name="ci", role=APIKey.READ_WRITE)).key
    (folder / "api-key").write_text(key)
    pipectl = Pipectl(plane, folder / "api-key")
    listed = (await pipectl("notification", "list")).out
    assert "127.0.0.1" in listed and "answered 400" in listed
    tested = await pipectl("notification", "test", "--receiver=ops")
    assert tested.code != 0 and "answered 400" in tested.err


async def test_receivers_of_users_call_no_address_of_the_operators_network(tmp_path: Path) -> None:
    """No request arrives, by a name or an address, and nothing is learned about what is there."""
    with ReceiverServer() as server:
        port = server.url.rpartition(":")[2]
        async with control_plane(tmp_path, with_jobs=False) as plane:
            team = await console_of_team(plane)
            urls = [f"http://{host}:{port}" for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0")]
            for number, url in enumerate([*urls, "http://169.254.169.254/latest/meta-data/"]):
                receiver = ProjectReceiver(name=f"hook {number}", webhook=WebhookReceiver(url=url))
                await team.call("AddProjectReceiver", receiver=receiver)
                with pytest.raises(CallFailed, match="which the control plane does not call"):
                    await team.call("TestProjectReceiver", name=receiver.name)
            mail = EmailReceiver(host="localhost", port=int(port), to=["a@example.com"], security="none")
            setattr(mail, "from", "b@example.com")
            await team.call("AddProjectReceiver", receiver=ProjectReceiver(name="mail", email=mail))
            with pytest.raises(CallFailed, match="which the control plane does not call"):
                await team.call("TestProjectReceiver", name="mail")
            await team.http.aclose()
        assert server.requests == []


async def test_a_wrong_receiver_of_the_file_is_an_error_at_the_start(tmp_path: Path) -> None:
    def with_receivers(*receivers: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        return [{"id": PROJECT, "notifications": {"receivers": list(receivers)}}]

    with pytest.raises(ConfigError, match=r"control-plane\.yaml.*each name can be given once"):
        hook = {"name": "a", "webhook": {"url": "https://a"}}
        spec(tmp_path, projects=with_receivers(hook, hook))
    missing = {"name": "a", "slack": {"oauthTokenFile": "/nowhere/token", "channelID": "C1"}}
    with pytest.raises(ConfigError, match="/nowhere/token"):
        async with control_plane(tmp_path, projects=with_receivers(missing)):
            pass
