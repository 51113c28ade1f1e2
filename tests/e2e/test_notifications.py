"""Each event is emitted where it happens; the agent's log shows them."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
import structlog

from pipecd.controlplane.notifications.presence import Presence
from pipecd.controlplane.store import outbox, tables
from pipecd.controlplane.store.kinds import PRESENCE
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.stage_pb2 import StageStatus
from tests.controlplane.server_fixture import PASSWORD_HASH, PROJECT, USER, CallFailed
from tests.eventually import eventually
from tests.pipectl.pipectl_process import Pipectl
from tests.piped.receiver_server import ReceiverServer
from tests.skippable_clock import SkippableClock
from tests.world import World, pipeline, world

Entries = list[Any]


@pytest.fixture
def logs() -> Iterator[Entries]:
    with structlog.testing.capture_logs() as entries:
        yield cast(Entries, entries)


def notifications(logs: Entries) -> Sequence[Mapping[str, str]]:
    return [entry for entry in logs if entry["event"] == "notification"]


def names(logs: Entries, of: str = "") -> list[str]:
    """The names of the notified events whose key begins with `of`; of a stage with its id."""
    return [
        f"{entry['event_name']} {entry['stage']}" if "stage" in entry else entry["event_name"]
        for entry in notifications(logs)
        if entry["key"].startswith(of)
    ]


async def approve(w: World, deployment_id: str, stage_id: str) -> None:
    async def running() -> bool:
        stages = {stage.id: stage for stage in (await w.deployment(deployment_id)).stages}
        return stage_id in stages and stages[stage_id].status == StageStatus.STAGE_RUNNING

    await eventually(running)
    await w.console.call("ApproveStage", deployment_id=deployment_id, stage_id=stage_id)


async def first_deployment(w: World, app: str) -> str:
    async def deployment_id() -> str:
        deployments = await w.deployments(app)
        return deployments[0].id if deployments else ""

    return await eventually(deployment_id)


async def test_a_deployment_with_an_approval_is_notified_step_by_step(tmp_path: Path, logs: Entries) -> None:
    """And each event of a route is sent once, in order, to a receiver."""
    route = {"receiver": "hook", "groups": ["DEPLOYMENT", "PIPED"]}
    with ReceiverServer() as server:
        receiver = {"name": "hook", "webhook": {"url": server.url, "format": "cloudevents"}}
        configured = {"routes": [route], "receivers": [receiver]}
        await deploy_with_an_approval(tmp_path, logs, configured)
        sent = [request.json["type"].removeprefix("dev.pipecd.") for request in server.requests]
    assert sent == [
        "piped.started",
        "deployment.triggered",
        "deployment.planned",
        "deployment.started",
        "deployment.wait_approval",
        "deployment.approved",
        "deployment.succeeded",
        "piped.stopped",
    ]


async def deploy_with_an_approval(tmp_path: Path, logs: Entries, configured: Mapping[str, Any]) -> None:
    async with world(tmp_path) as w:
        async with w.agent(notifications=configured):
            file = pipeline({"name": "WAIT_APPROVAL"}, "true")
            app = await w.add_application("shop", {"app.pipecd.yaml": file})
            deployment_id = await first_deployment(w, app)
            await approve(w, deployment_id, "stage-0")
            assert (await w.wait_for_deployment(app)).status == DeploymentStatus.DEPLOYMENT_SUCCESS

            async def synced() -> bool:
                return names(logs, app) == ["APPLICATION_SYNCED"]

            # Reported after the end of the deployment.
            await eventually(synced)
        assert names(logs, deployment_id) == [
            "DEPLOYMENT_TRIGGERED",
            "DEPLOYMENT_PLANNED",
            "DEPLOYMENT_STARTED",
            "STAGE_STARTED stage-0",
            "DEPLOYMENT_WAIT_APPROVAL stage-0",
            "DEPLOYMENT_APPROVED stage-0",
            "STAGE_SUCCEEDED stage-0",
            "STAGE_STARTED stage-1",
            "STAGE_SUCCEEDED stage-1",
            "DEPLOYMENT_SUCCEEDED",
        ]
        assert names(logs, w.piped_id) == ["PIPED_STARTED", "PIPED_STOPPED"]
        keys = [entry["key"] for entry in notifications(logs)]
        assert len(keys) == len(set(keys))
        assert names(logs)[-1] == "PIPED_STOPPED"


async def test_failures_and_rollbacks_are_notified(tmp_path: Path, logs: Entries) -> None:
    async with world(tmp_path) as w, w.agent():
        failing = {"name": "SCRIPT_RUN", "with": {"run": "exit 3", "onRollback": "true"}}
        file = pipeline(failing, planner={"autoRollback": True})
        app = await w.add_application("shop", {"app.pipecd.yaml": file})
        failed = await w.wait_for_deployment(app)
        assert failed.status == DeploymentStatus.DEPLOYMENT_FAILURE

        async def notified() -> bool:
            return names(logs, app) == ["APPLICATION_OUT_OF_SYNC"]

        await eventually(notified)
        events = names(logs, failed.id)
        assert events[:5] == [
            "DEPLOYMENT_TRIGGERED",
            "DEPLOYMENT_PLANNED",
            "DEPLOYMENT_STARTED",
            "STAGE_STARTED stage-0",
            "STAGE_FAILED stage-0",
        ]
        assert events[5] == "DEPLOYMENT_ROLLING_BACK"
        assert events[-1] == "DEPLOYMENT_FAILED"
        assert "STAGE_STARTED ScriptRunRollback" in events
        assert "STAGE_SUCCEEDED ScriptRunRollback" in events


async def test_a_cancel_and_an_invalid_file_are_notified(tmp_path: Path, logs: Entries) -> None:
    async with world(tmp_path) as w, w.agent():
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline({"name": "WAIT_APPROVAL"})})
        deployment_id = await first_deployment(w, app)

        async def waiting() -> bool:
            return "DEPLOYMENT_WAIT_APPROVAL stage-0" in names(logs, deployment_id)

        await eventually(waiting)
        await w.console.call("CancelDeployment", deployment_id=deployment_id)
        await w.wait_until_final(deployment_id)
        commit = await w.push("Break", {"shop/app.pipecd.yaml": "kind: ["})

        async def trigger_failed() -> Mapping[str, str]:
            entries = notifications(logs)
            return next((e for e in entries if e["event_name"] == "DEPLOYMENT_TRIGGER_FAILED"), {})

        failure = await eventually(trigger_failed)
        assert (failure["application"], failure["commit"]) == ("shop", commit)
        assert failure["reason"].startswith("shop/app.pipecd.yaml:")

        async def cancelled() -> Mapping[str, str]:
            # Notified after it was reported.
            entries = notifications(logs)
            return next((e for e in entries if e["event_name"] == "DEPLOYMENT_CANCELLED"), {})

        assert (await eventually(cancelled))["commander"] == "hello"
        assert "STAGE_CANCELLED stage-0" in names(logs, deployment_id)


async def test_results_of_receivers_are_shown_and_receivers_can_be_tested(tmp_path: Path) -> None:
    """In the console and by pipectl: by a user with the right, on the agent that has the receiver."""
    with ReceiverServer() as server:
        hook = {"url": server.url, "format": "cloudevents"}
        away = {"url": "http://127.0.0.1:1"}
        async with world(tmp_path) as w, hanging() as (hangs, release):
            routes = [
                {"receiver": "hook", "events": ["PIPED_STARTED", "DEPLOYMENT_SUCCEEDED"]},
                {"receiver": "hangs"},
            ]
            receivers = [
                {"name": name, "webhook": webhook}
                for name, webhook in (("hook", hook), ("away", away), ("hangs", {"url": hangs}))
            ]
            await w.console.call("ListReceivers", piped_id=w.piped_id)
            async with w.agent(notifications={"routes": routes, "receivers": receivers}):
                await check_receivers_of_an_agent(w, server, tmp_path)
                await check_that_a_receiver_delays_no_deployment(w, server)
                release.set()
            # The agent is gone: its last results stay, and a test says why it cannot be made.
            assert len((await w.console.call("ListReceivers", piped_id=w.piped_id)).receivers) == 3

            async def is_not_connected() -> bool:
                """Until the control plane notices that the stream has ended, a request ends with it."""
                with pytest.raises(CallFailed, match="the piped is not connected"):
                    await w.console.call("TestReceiver", piped_id=w.piped_id, receiver="hook")
                return True

            await eventually(is_not_connected)


@asynccontextmanager
async def hanging() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A receiver that accepts connections, and answers none until the event is set; then it closes them."""
    release = asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", release
    release.set()
    server.close()


async def check_that_a_receiver_delays_no_deployment(w: World, server: ReceiverServer) -> None:
    """From the push to the last report, and the message to another receiver, while one hangs."""
    app = await w.add_application("shop", {"app.pipecd.yaml": pipeline("true")})
    deployment = await w.wait_for_deployment(app)
    assert deployment.status == DeploymentStatus.DEPLOYMENT_SUCCESS

    async def is_notified() -> bool:
        return bool(server.requests[-1].json["type"] == "dev.pipecd.deployment.succeeded")

    await eventually(is_notified)

    async def waits() -> bool:
        """No message was accepted."""
        response = await w.console.call("ListReceivers", piped_id=w.piped_id)
        receiver = next(each for each in response.receivers if each.name == "hangs")
        return bool(receiver.waiting > 5 and not receiver.succeeded_at)

    await eventually(waits)


async def check_receivers_of_an_agent(w: World, server: ReceiverServer, folder: Path) -> None:
    async def statuses() -> Mapping[str, Any]:
        response = await w.console.call("ListReceivers", piped_id=w.piped_id)
        return {receiver.name: receiver for receiver in response.receivers}

    async def started_is_sent() -> bool:
        reported = await statuses()
        return "hook" in reported and reported["hook"].succeeded_at > 0

    await eventually(started_is_sent)
    assert (await statuses())["away"].failed_at == 0
    await w.console.call("TestReceiver", piped_id=w.piped_id, receiver="hook")
    assert server.requests[-1].json["type"] == "dev.pipecd.notification.test"
    with pytest.raises(CallFailed, match=r"127\.0\.0\.1 does not answer"):
        await w.console.call("TestReceiver", piped_id=w.piped_id, receiver="away")
    with pytest.raises(CallFailed, match="has reported no receiver 'other'"):
        await w.console.call("TestReceiver", piped_id=w.piped_id, receiver="other")

    async def failure_is_reported() -> bool:
        return bool((await statuses())["away"].error.startswith("127.0.0.1 does not answer"))

    await eventually(failure_is_reported)
    key = (await w.console.call("GenerateAPIKey", name="ci", role=APIKey.READ_WRITE)).key
    (folder / "api-key").write_text(key)
    pipectl = Pipectl(w.plane, folder / "api-key")
    listed = await pipectl("notification", "list", f"--piped-id={w.piped_id}")
    assert [line.split()[:4] for line in listed.out.splitlines()[1:3]] == [
        ["hook", "webhook", "OK", "0"],
        ["away", "webhook", "FAILING", "0"],
    ]
    failed = await pipectl("notification", "test", f"--piped-id={w.piped_id}", "--receiver=away")
    assert failed.code == 1 and "127.0.0.1 does not answer" in failed.err
    rows = await w.plane.server.services.store.database.rows(
        sa.select(tables.audit.c.after).where(tables.audit.c.action.like("%TestReceiver"))
    )
    assert [row.after for row in rows if "hook" in row.after] == ['{"test message to":"hook"}']


async def test_the_control_plane_reports_an_agent_that_is_gone_and_that_it_is_back(tmp_path: Path) -> None:
    clock = SkippableClock()
    with ReceiverServer() as server:
        receivers = [{"name": "hook", "webhook": {"url": server.url, "format": "cloudevents"}}]
        admin = {"username": USER, "passwordHash": PASSWORD_HASH}
        projects = [{"id": PROJECT, "staticAdmin": admin, "notifications": {"receivers": receivers}}]
        async with world(tmp_path, clock=clock, projects=projects) as w:
            store = w.plane.server.services.store

            async def check() -> Presence:
                """Lets the interval of the checks pass, which is shorter than the lease of the agent."""
                at = clock.now()
                clock.skip(11.0)

                async def checked() -> Presence | None:
                    stored = await store.get_metadata(PRESENCE, PROJECT)
                    known = Presence.from_json(stored[0]) if stored else Presence()
                    return known if known.checked_at > at else None

                known = await eventually(checked)
                assert known
                return known

            async def let_time_pass_until(*, online: bool) -> None:
                """No time is skipped after that: it would count as the duration of what is being sent."""
                async with asyncio.timeout(240):
                    while (since := (await check()).agents.get(w.piped_id)) is None or bool(since) is online:
                        pass

            async def nothing_waits() -> bool:
                return not await outbox.waiting(store)

            async with w.agent():
                await let_time_pass_until(online=True)
            assert server.requests == []
            await let_time_pass_until(online=False)
            await eventually(nothing_waits)
            async with w.agent():
                await let_time_pass_until(online=True)
                await eventually(nothing_waits)
        offline, online = (request.json for request in server.requests)
        assert offline["type"] == "dev.pipecd.piped.offline" and online["type"] == "dev.pipecd.piped.online"
        assert offline["data"]["pipedName"] == online["data"]["pipedName"] == "home"
