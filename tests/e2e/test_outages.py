"""Git, the control plane or its stream are away: work pauses and resumes, and no status is invented."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipecd import controlplane
from pipecd.admin_port import asked as page
from pipecd.controlplane.rpc import lease_guard
from pipecd.controlplane.rpc.method import Method
from pipecd.controlplane.rpc.table import API, CONSOLE, PIPED, WEB, methods
from pipecd.piped import admin
from pipecd.piped.session import polling
from pipecd.quickstart.git_server import GitServer
from pipecd.schema.model.application_pb2 import ApplicationSyncStatus
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from tests.controlplane.server_fixture import control_plane
from tests.eventually import eventually
from tests.ports import free_ports
from tests.world import pipeline, world


async def test_while_git_is_away_a_sync_waits_and_then_is_carried_out(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    async with world(tmp_path, git_port=port) as w, w.agent(syncInterval="1s"):
        app = await w.application("shop", {"app.pipecd.yaml": pipeline("true")})
        first = await w.ended(app)

        async def synced() -> bool:
            return bool((await w.state(app)).status == ApplicationSyncStatus.SYNCED)

        await eventually(synced)
        await asyncio.to_thread(w.git.stop)
        asked = await w.console.call("SyncApplication", application_id=app)
        await asyncio.sleep(2)  # several rounds go wrong
        command = (await w.console.call("GetCommand", command_id=asked.command_id)).command
        assert command.status == 0, "an outage is no answer"
        assert (await w.state(app)).status == ApplicationSyncStatus.SYNCED, "a status was invented"
        with GitServer(tmp_path / "git", port=port):

            async def handled() -> Any:
                answer = await w.console.call("GetCommand", command_id=asked.command_id)
                return answer.command if answer.command.status else None

            made = (await eventually(handled)).metadata["TriggeredDeploymentID"]
            assert made != first.id
            assert (await w.over(made)).status == DeploymentStatus.DEPLOYMENT_SUCCESS


async def test_an_approval_given_while_git_is_away_counts_when_it_is_back(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    async with world(tmp_path, git_port=port) as w:
        async with w.agent():
            waits = pipeline({"name": "WAIT_APPROVAL"}, "true")
            app = await w.application("shop", {"app.pipecd.yaml": waits})

            async def asked() -> Any:
                made = await w.deployments(app)
                return made[-1] if made and made[-1].stages and made[-1].stages[0].status else None

            deployment = await eventually(asked)
        await asyncio.to_thread(w.git.stop)
        # An agent without a copy of the repository cannot even read what the stage asks for.
        async with w.agent(home=tmp_path / "elsewhere"):
            stage_id = deployment.stages[0].id
            await w.console.call("ApproveStage", deployment_id=deployment.id, stage_id=stage_id)

            async def tried_in_vain() -> bool:
                return "trying again" in await w.log(deployment.id, stage_id)

            await eventually(tried_in_vain)
            with GitServer(tmp_path / "git", port=port):
                ended = await w.over(deployment.id)
        assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS, ended.status_reason


async def test_a_remote_that_refuses_us_shows_on_its_applications_and_heals(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent(syncInterval="1s"):
        app = await w.application("shop", {"app.pipecd.yaml": pipeline("true")})
        await w.ended(app)
        w.git.users = {"somebody": "else"}

        async def refused() -> str:
            state = await w.state(app)
            return str(state.reason) if state.status == ApplicationSyncStatus.INVALID_CONFIG else ""

        assert "credentials were refused" in await eventually(refused)
        w.git.users = None

        async def healed() -> bool:
            return bool((await w.state(app)).status == ApplicationSyncStatus.SYNCED)

        await eventually(healed)


async def health(admin_port: int) -> int:
    code, _, _ = await page(admin_port, "/healthz", timeout=60.0)
    return code


async def test_what_ends_while_the_control_plane_is_away_is_told_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "OUT_OF_TOUCH", 0.0)
    admin_port, *ports = free_ports(3)
    begun, gate, ran = tmp_path / "begun", tmp_path / "gate", tmp_path / "ran"
    script = f"touch {begun}; while [ ! -e {gate} ]; do sleep 0.1; done; echo in the dark; echo x >> {ran}"
    async with world(tmp_path, ports=ports) as w, w.agent(admin_port=admin_port) as agent:
        app = await w.application("shop", {"app.pipecd.yaml": pipeline(script, "true")})

        async def at_work() -> bool:
            # Its attempt must have been noted: what is not noted is not begun.
            return begun.exists()

        await eventually(at_work)
        await w.down()
        assert await health(admin_port) == 200, "a stage at work would be torn apart"
        gate.touch()

        async def done() -> bool:
            return ran.exists()

        await eventually(done)
        assert await health(admin_port) == 200, "nobody was told how it ended"
        async with control_plane(tmp_path / "plane", ports=ports) as plane:
            w.console = plane.console
            ended = await w.ended(app)
            assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS
            await w.logged(ended.id, "stage-0", "in the dark")
            assert ran.read_text() == "x\n", "the script ran again"
            assert not agent.done()

            async def replaceable() -> bool:
                return await health(admin_port) == 503

            await eventually(replaceable)
            agent.cancel()
            await asyncio.wait([agent])


#: What PipeCD's control plane has only since 0.53.
LATER = ("SaveDeploymentSharedMetadata", "GetApplicationSharedObject", "PutApplicationSharedObject")


@pytest.fixture
def old_control_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    """As PipeCD 0.50 to 0.52 have it, for those of our calls that they lack."""

    def older(services: Any = (PIPED, API, WEB, CONSOLE)) -> Mapping[str, Method]:
        return {name: one for name, one in methods(services).items() if not name.endswith(LATER)}

    monkeypatch.setattr(controlplane, "methods", older)
    monkeypatch.setattr(lease_guard, "FENCED", frozenset())
    monkeypatch.setattr(polling, "COMMANDS", 0.5)
    monkeypatch.setattr(polling, "SAFETY_NET", 1.0)


@pytest.mark.usefixtures("old_control_plane")
async def test_with_an_older_control_plane_a_plan_is_kept_on_the_agents_disk(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent(syncInterval="1s"):
        stages = [{"name": name} for name in ("TERRAFORM_PLAN", "WAIT_APPROVAL", "TERRAFORM_APPLY")]
        app = await w.application("shop", {"app.pipecd.yaml": pipeline(*stages)})

        async def asked() -> Any:
            made = await w.deployments(app)
            return made[-1] if made and made[-1].stages and made[-1].stages[1].status else None

        deployment = await eventually(asked)
        await w.console.call("ApproveStage", deployment_id=deployment.id, stage_id=deployment.stages[1].id)
        ended = await w.over(deployment.id)
        assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS, ended.status_reason
        assert "pipecd/terraform-plan" in ended.metadata
        kept = list((tmp_path / "agent").glob("*/kept/*"))
        assert [oct(one.parent.stat().st_mode)[-3:] for one in kept] == ["700"]


@pytest.mark.usefixtures("old_control_plane")
async def test_against_a_control_plane_without_our_stream_polling_is_enough(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        async with w.agent():
            app = await w.application("shop", {"app.pipecd.yaml": pipeline("true")})
        async with w.agent(syncInterval="1s"):
            assert (await w.ended(app)).status == DeploymentStatus.DEPLOYMENT_SUCCESS
            commit = await w.push("Again", {"shop/value": "1"})
            assert (await w.ended(app, commit)).status == DeploymentStatus.DEPLOYMENT_SUCCESS
            asked = await w.console.call("SyncApplication", application_id=app)

            async def handled() -> bool:
                answer = await w.console.call("GetCommand", command_id=asked.command_id)
                return bool(answer.command.status == 1)

            assert await eventually(handled)
