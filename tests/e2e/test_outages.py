"""Outages of Git, the control plane or its stream: work pauses and resumes; no wrong status is reported."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from pipecd.admin_port import http_get
from pipecd.model.status import SyncStatus
from pipecd.piped.settings import PollingSettings
from pipecd.quickstart.git_server import GitServer
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from tests.controlplane.server_fixture import control_plane
from tests.eventually import eventually
from tests.older_control_plane import older_control_plane
from tests.ports import free_ports
from tests.world import SETTINGS, pipeline, world


@asynccontextmanager
async def broken_server(port: int) -> AsyncIterator[list[float]]:
    """A server that hangs up on every client. Yields when it did."""
    attempts: list[float] = []

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.append(time.monotonic())
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", port):
        yield attempts


async def test_sync_during_a_git_outage_is_carried_out_afterwards(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    async with world(tmp_path, git_port=port) as w, w.agent(syncInterval="1s"):
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline("true")})
        first = await w.wait_for_deployment(app)

        await w.wait_for_sync_status(app, SyncStatus.SYNCED)
        with structlog.testing.capture_logs() as logs:
            await asyncio.to_thread(w.git.stop)

            async def is_noticed() -> bool:
                """A check that knew the head before would still carry out the command."""
                return any(
                    entry["event"] == "loop_paused" and entry["loop"] == "trigger shop" for entry in logs
                )

            await eventually(is_noticed)
        async with broken_server(port) as attempts:
            response = await w.console.call("SyncApplication", application_id=app)
            before = len(attempts)

            async def checks_failed() -> bool:
                return len(attempts) >= before + 3

            await eventually(checks_failed)
        command = (await w.console.call("GetCommand", command_id=response.command_id)).command
        assert command.status == 0, "the outage ended the command"
        assert (await w.sync_state(app)).status == SyncStatus.SYNCED, "a wrong status was reported"
        with GitServer(tmp_path / "git", port=port):

            async def handled() -> Any:
                result = await w.console.call("GetCommand", command_id=response.command_id)
                return result.command if result.command.status else None

            deployment_id = (await eventually(handled)).metadata["TriggeredDeploymentID"]
            assert deployment_id != first.id
            assert (await w.wait_until_final(deployment_id)).status == DeploymentStatus.DEPLOYMENT_SUCCESS


async def test_approval_during_a_git_outage_takes_effect_afterwards(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    async with world(tmp_path, git_port=port) as w:
        async with w.agent():
            waits = pipeline({"name": "WAIT_APPROVAL"}, "true")
            app = await w.add_application("shop", {"app.pipecd.yaml": waits})

            async def waiting_deployment() -> Any:
                deployments = await w.deployments(app)
                return (
                    deployments[-1]
                    if deployments and deployments[-1].stages and deployments[-1].stages[0].status
                    else None
                )

            deployment = await eventually(waiting_deployment)
        await asyncio.to_thread(w.git.stop)
        # An agent without a mirror of the repository cannot load the stage's configuration.
        async with w.agent(home=tmp_path / "second"):
            stage_id = deployment.stages[0].id
            await w.console.call("ApproveStage", deployment_id=deployment.id, stage_id=stage_id)

            async def retrying() -> bool:
                return "retrying in" in await w.log(deployment.id, stage_id)

            await eventually(retrying)
            with GitServer(tmp_path / "git", port=port):
                ended = await w.wait_until_final(deployment.id)
        assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS, ended.status_reason


async def test_rejected_git_credentials_are_reported_on_applications_until_fixed(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent(syncInterval="1s"):
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline("true")})
        await w.wait_for_deployment(app)
        w.git.users = {"other": "user"}
        await w.wait_for_sync_status(app, SyncStatus.INVALID_CONFIG, reason="credentials were refused")
        w.git.users = None

        await w.wait_for_sync_status(app, SyncStatus.SYNCED)


async def health(admin_port: int) -> int:
    code, _, _ = await http_get(admin_port, "/healthz", timeout=60.0)
    return code


async def test_stage_that_ends_during_a_control_plane_outage_is_reported_afterwards(tmp_path: Path) -> None:
    settings = replace(SETTINGS, unreachable_timeout=0.0)
    admin_port, *ports = free_ports(3)
    started, gate, ran = tmp_path / "started", tmp_path / "gate", tmp_path / "ran"
    script = (
        f"touch {started}; while [ ! -e {gate} ]; do sleep 0.1; done; echo during the outage; echo x >> {ran}"
    )
    async with world(tmp_path, ports=ports) as w, w.agent(admin_port=admin_port, settings=settings) as agent:
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline(script, "true")})

        async def stage_started() -> bool:
            # The stage is reported as running before it is called.
            return started.exists()

        await eventually(stage_started)
        await w.stop_control_plane()
        assert await health(admin_port) == 200, "a health check would interrupt the running stage"
        gate.touch()

        async def script_ended() -> bool:
            return ran.exists()

        await eventually(script_ended)
        assert await health(admin_port) == 200, "the outcome is not reported yet"
        async with control_plane(tmp_path / "plane", ports=ports) as plane:
            w.console = plane.console
            ended = await w.wait_for_deployment(app)
            assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS
            await w.wait_for_log(ended.id, "stage-0", "during the outage")
            assert ran.read_text() == "x\n", "the script ran again"
            assert not agent.done()

            async def unhealthy() -> bool:
                return await health(admin_port) == 503

            await eventually(unhealthy)
            agent.cancel()
            await asyncio.wait([agent])


#: Of an agent that only polls.
POLLING = replace(SETTINGS, polling=PollingSettings(full_refresh_interval=1.0, commands_interval=0.5))


async def test_with_an_older_control_plane_the_plan_is_stored_on_the_agents_disk(tmp_path: Path) -> None:
    async with (
        world(tmp_path) as w,
        older_control_plane(w.plane.address) as address,
        w.agent(address=address, syncInterval="1s", settings=POLLING),
    ):
        stages = [{"name": name} for name in ("TERRAFORM_PLAN", "WAIT_APPROVAL", "TERRAFORM_APPLY")]
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline(*stages)})

        async def waiting_deployment() -> Any:
            deployments = await w.deployments(app)
            return (
                deployments[-1]
                if deployments and deployments[-1].stages and deployments[-1].stages[1].status
                else None
            )

        deployment = await eventually(waiting_deployment)
        await w.console.call("ApproveStage", deployment_id=deployment.id, stage_id=deployment.stages[1].id)
        ended = await w.wait_until_final(deployment.id)
        assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS, ended.status_reason
        assert "pipecd/terraform-plan" in ended.metadata
        stored = list((tmp_path / "agent").glob("*/kept/*"))
        assert [oct(path.parent.stat().st_mode)[-3:] for path in stored] == ["700"]


async def test_polling_suffices_with_a_control_plane_without_the_stream(tmp_path: Path) -> None:
    async with world(tmp_path) as w, older_control_plane(w.plane.address) as address:
        async with w.agent(address=address, settings=POLLING):
            app = await w.add_application("shop", {"app.pipecd.yaml": pipeline("true")})
        async with w.agent(address=address, syncInterval="1s", settings=POLLING):
            assert (await w.wait_for_deployment(app)).status == DeploymentStatus.DEPLOYMENT_SUCCESS
            commit = await w.push("Again", {"shop/value": "1"})
            assert (await w.wait_for_deployment(app, commit)).status == DeploymentStatus.DEPLOYMENT_SUCCESS
            response = await w.console.call("SyncApplication", application_id=app)

            async def handled() -> bool:
                result = await w.console.call("GetCommand", command_id=response.command_id)
                return bool(result.command.status == 1)

            assert await eventually(handled)
