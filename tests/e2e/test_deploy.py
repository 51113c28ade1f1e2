"""From a push to the end of a deployment, through the public interface of every program."""

import asyncio
from pathlib import Path
from typing import Any

from pipecd.model.status import SyncStatus
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.stage_pb2 import StageStatus
from tests.eventually import eventually
from tests.world import REPOSITORY, World, pipeline, world


async def handled_command(w: World, command_id: str) -> Any:
    response = await w.console.call("GetCommand", command_id=command_id)
    return response.command if response.command.status else None


async def test_push_is_deployed_and_its_log_is_readable(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline("echo hello world", "echo done")})
        first = await w.wait_for_deployment(app)
        assert (first.status, first.status_reason) == (
            DeploymentStatus.DEPLOYMENT_SUCCESS,
            "The deployment was completed successfully",
        )
        await w.wait_for_log(first.id, "stage-0", "hello world")
        assert [stage.id for stage in first.stages][:2] == ["stage-0", "stage-1"]

        commit = await w.push("Echo more", {"shop/app.pipecd.yaml": pipeline("echo once more")})
        second = await w.wait_for_deployment(app, commit)
        assert second.status == DeploymentStatus.DEPLOYMENT_SUCCESS
        assert second.running_commit_hash == first.trigger.commit.hash
        assert len(await w.deployments(app)) == 2

        await w.wait_for_sync_status(app, SyncStatus.SYNCED)


async def test_commit_without_changes_to_the_application_deploys_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline("true")})
        first = (await w.wait_for_deployment(app)).trigger.commit.hash
        await w.push("Elsewhere", {"docs/a.md": "words"})
        touching = await w.push("Here", {"shop/value": "1"})
        await w.wait_for_deployment(app, touching)
        commits = [item.trigger.commit.hash for item in await w.deployments(app)]
        assert sorted(commits) == sorted([first, touching])


async def test_invalid_file_is_reported_with_its_location_and_does_not_block_other_applications(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w, w.agent():
        shop = await w.add_application("shop", {"app.pipecd.yaml": pipeline("true")})
        other = await w.add_application("other", {"app.pipecd.yaml": pipeline("true", name="other")})
        await w.wait_for_deployment(shop)
        await w.wait_for_deployment(other)
        valid = (tmp_path / "clone" / "shop" / "app.pipecd.yaml").read_text()
        invalid = valid.replace("SCRIPT_RUN", "SCRIPT_RAN")
        commit = await w.push("Break", {"shop/app.pipecd.yaml": invalid, "other/value": "1"})
        assert (await w.wait_for_deployment(other, commit)).status == DeploymentStatus.DEPLOYMENT_SUCCESS
        reason = (await w.wait_for_sync_status(shop, SyncStatus.INVALID_CONFIG)).reason
        line = invalid.splitlines().index("    - name: SCRIPT_RAN") + 1
        assert reason.startswith(f"shop/app.pipecd.yaml:{line}: spec.pipeline.stages[0].name")
        assert "SCRIPT_RUN" in reason

        await w.push("Fix", {"shop/app.pipecd.yaml": valid})

        await w.wait_for_sync_status(shop, SyncStatus.SYNCED)
        assert len(await w.deployments(shop)) == 1
        commit = await w.push("Continue", {"shop/value": "2"})
        assert (await w.wait_for_deployment(shop, commit)).status == DeploymentStatus.DEPLOYMENT_SUCCESS


async def test_sync_command_reports_the_deployment_it_triggered(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline("true")})
        first = await w.wait_for_deployment(app)
        response = await w.console.call("SyncApplication", application_id=app)
        command = await eventually(lambda: handled_command(w, response.command_id))
        deployment_id = command.metadata["TriggeredDeploymentID"]
        assert deployment_id != first.id
        ended = await w.wait_until_final(deployment_id)
        assert (ended.status, ended.trigger.commander) == (DeploymentStatus.DEPLOYMENT_SUCCESS, "hello")


async def test_cancel_ends_the_running_stage_and_names_the_user(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        app = await w.add_application(
            "shop", {"app.pipecd.yaml": pipeline("echo started; sleep 600", "true")}
        )

        deployment_id = await w.wait_for_line(app, "stage-0", "started")
        await w.console.call("CancelDeployment", deployment_id=deployment_id, force_no_rollback=True)
        ended = await w.wait_for_deployment(app)
        assert ended.status == DeploymentStatus.DEPLOYMENT_CANCELLED
        assert "hello" in ended.status_reason
        assert [stage.status for stage in ended.stages][:2] == [
            StageStatus.STAGE_CANCELLED,
            StageStatus.STAGE_NOT_STARTED_YET,
        ]


async def test_shutdown_reports_no_failure_and_the_next_agent_continues(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        gate = tmp_path / "gate"
        script = f"echo started $SR_ATTEMPT; while [ ! -e {gate} ]; do sleep 0.1; done"
        second = "echo attempt $SR_ATTEMPT"
        async with w.agent():
            app = await w.add_application("shop", {"app.pipecd.yaml": pipeline(script, second)})

            deployment_id = await w.wait_for_line(app, "stage-0", "started 1")
        assert (await w.deployment(deployment_id)).status == DeploymentStatus.DEPLOYMENT_RUNNING
        gate.touch()
        async with w.agent():
            ended = await w.wait_for_deployment(app)
        assert (ended.id, ended.status) == (deployment_id, DeploymentStatus.DEPLOYMENT_SUCCESS)
        interrupted_log = await w.log(deployment_id, "stage-0")
        assert [line for line in interrupted_log.split("\n") if line.startswith("started")] == [
            "started 1",
            "started 2",
        ]
        assert "attempt 1" in (await w.log(deployment_id, "stage-1")).split("\n")


async def test_two_agents_of_one_piped_create_one_deployment(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent(), w.agent(home=tmp_path / "second"):
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline("echo ran >> $PWD/../ran; true")})
        await w.wait_for_deployment(app)
        commit = await w.push("Again", {"shop/value": "1"})
        await w.wait_for_deployment(app, commit)
        assert len(await w.deployments(app)) == 2


async def test_unregistered_applications_are_suggested(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        bad = pipeline("true", name="bad").replace("pipeline:", "pipelin:")
        await w.push(
            "Add", {"new/app.pipecd.yaml": pipeline("true", name="fresh"), "bad/app.pipecd.yaml": bad}
        )
        async with w.agent():

            async def suggested() -> list[str]:
                response = await w.console.call("ListUnregisteredApplications")
                return [application.name for application in response.applications]

            assert await eventually(suggested) == ["fresh"]
            (file,) = (await w.console.call("ListSuggestions")).invalid_files
            assert (file.repo_id, file.path, file.piped_id) == (REPOSITORY, "bad/app.pipecd.yaml", w.piped_id)
            assert file.error.startswith("bad/app.pipecd.yaml:5: spec.pipelin: unknown key")


async def test_agent_ends_without_error_on_a_restart_command(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent() as agent:
        await w.add_application("shop", {"app.pipecd.yaml": pipeline("true")})
        response = await w.console.call("RestartPiped", piped_id=w.piped_id)
        async with asyncio.timeout(60):
            await asyncio.wait([agent])
        assert agent.exception() is None
        result = await w.console.call("GetCommand", command_id=response.command_id)
        assert result.command.status == 1
