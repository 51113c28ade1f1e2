"""From a push to the end of a deployment, through every program's real door."""

import asyncio
from pathlib import Path
from typing import Any

from pipecd.schema.model.application_pb2 import ApplicationSyncStatus
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.stage_pb2 import StageStatus
from tests.eventually import eventually
from tests.world import World, pipeline, world


async def handled(w: World, command_id: str) -> Any:
    answer = await w.console.call("GetCommand", command_id=command_id)
    return answer.command if answer.command.status else None


async def test_a_push_is_deployed_and_its_log_can_be_read(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        app = await w.application("shop", {"app.pipecd.yaml": pipeline("echo to everybody", "echo done")})
        first = await w.ended(app)
        assert (first.status, first.status_reason) == (
            DeploymentStatus.DEPLOYMENT_SUCCESS,
            "The deployment was completed successfully",
        )
        await w.logged(first.id, "stage-0", "to everybody")
        assert [stage.id for stage in first.stages][:2] == ["stage-0", "stage-1"]

        commit = await w.push("Say more", {"shop/app.pipecd.yaml": pipeline("echo once more")})
        second = await w.ended(app, commit)
        assert second.status == DeploymentStatus.DEPLOYMENT_SUCCESS
        assert second.running_commit_hash == first.trigger.commit.hash
        assert len(await w.deployments(app)) == 2

        async def synced() -> bool:
            return bool((await w.state(app)).status == ApplicationSyncStatus.SYNCED)

        # The application follows its deployment's end.
        await eventually(synced)


async def test_a_commit_that_does_not_touch_the_application_deploys_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        app = await w.application("shop", {"app.pipecd.yaml": pipeline("true")})
        first = (await w.ended(app)).trigger.commit.hash
        await w.push("Elsewhere", {"docs/a.md": "words"})
        touching = await w.push("Here", {"shop/value": "1"})
        await w.ended(app, touching)
        commits = [one.trigger.commit.hash for one in await w.deployments(app)]
        assert sorted(commits) == sorted([first, touching])


async def test_a_broken_file_shows_its_place_stops_no_other_application_and_heals(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        shop = await w.application("shop", {"app.pipecd.yaml": pipeline("true")})
        other = await w.application("other", {"app.pipecd.yaml": pipeline("true", name="other")})
        await w.ended(shop)
        await w.ended(other)
        good = (tmp_path / "clone" / "shop" / "app.pipecd.yaml").read_text()
        broken = good.replace("SCRIPT_RUN", "SCRIPT_RAN")
        commit = await w.push("Break it", {"shop/app.pipecd.yaml": broken, "other/value": "1"})
        assert (await w.ended(other, commit)).status == DeploymentStatus.DEPLOYMENT_SUCCESS

        async def shown() -> str:
            state = await w.state(shop)
            assert state.status == ApplicationSyncStatus.INVALID_CONFIG
            return str(state.reason)

        reason = await eventually(shown)
        line = broken.splitlines().index("    - name: SCRIPT_RAN") + 1
        assert reason.startswith(f"shop/app.pipecd.yaml:{line}: spec.pipeline.stages[0].name")
        assert "SCRIPT_RUN" in reason

        await w.push("Put it back", {"shop/app.pipecd.yaml": good})

        async def healed() -> bool:
            return bool((await w.state(shop)).status == ApplicationSyncStatus.SYNCED)

        await eventually(healed)
        assert len(await w.deployments(shop)) == 1
        mended = await w.push("Go on", {"shop/value": "2"})
        assert (await w.ended(shop, mended)).status == DeploymentStatus.DEPLOYMENT_SUCCESS


async def test_a_person_syncs_and_is_told_which_deployment_that_made(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        app = await w.application("shop", {"app.pipecd.yaml": pipeline("true")})
        first = await w.ended(app)
        asked = await w.console.call("SyncApplication", application_id=app)
        answer = await eventually(lambda: handled(w, asked.command_id))
        made = answer.metadata["TriggeredDeploymentID"]
        assert made != first.id
        ended = await w.over(made)
        assert (ended.status, ended.trigger.commander) == (DeploymentStatus.DEPLOYMENT_SUCCESS, "hello")


async def test_cancelling_ends_the_stage_at_work_and_says_who(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        app = await w.application("shop", {"app.pipecd.yaml": pipeline("echo begun; sleep 600", "true")})

        async def at_work() -> str:
            made = await w.deployments(app)
            begun = made and "begun" in await w.log(made[0].id, "stage-0")
            return made[0].id if begun else ""

        deployment_id = await eventually(at_work)
        await w.console.call("CancelDeployment", deployment_id=deployment_id, force_no_rollback=True)
        ended = await w.ended(app)
        assert ended.status == DeploymentStatus.DEPLOYMENT_CANCELLED
        assert "hello" in ended.status_reason
        assert [stage.status for stage in ended.stages][:2] == [
            StageStatus.STAGE_CANCELLED,
            StageStatus.STAGE_NOT_STARTED_YET,
        ]


async def test_a_shutdown_reports_nothing_as_failed_and_the_next_agent_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        gate = tmp_path / "gate"
        script = f"echo begun; while [ ! -e {gate} ]; do sleep 0.1; done"
        async with w.agent():
            app = await w.application("shop", {"app.pipecd.yaml": pipeline(script, "true")})

            async def at_work() -> str:
                made = await w.deployments(app)
                begun = made and "begun" in await w.log(made[0].id, "stage-0")
                return made[0].id if begun else ""

            deployment_id = await eventually(at_work)
        assert (await w.deployment(deployment_id)).status == DeploymentStatus.DEPLOYMENT_RUNNING
        gate.touch()
        async with w.agent():
            ended = await w.ended(app)
        assert (ended.id, ended.status) == (deployment_id, DeploymentStatus.DEPLOYMENT_SUCCESS)


async def test_two_agents_of_one_piped_make_one_deployment(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent(), w.agent(home=tmp_path / "second"):
        app = await w.application("shop", {"app.pipecd.yaml": pipeline("echo ran >> $PWD/../ran; true")})
        await w.ended(app)
        commit = await w.push("Again", {"shop/value": "1"})
        await w.ended(app, commit)
        assert len(await w.deployments(app)) == 2


async def test_applications_that_nobody_registered_are_suggested(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.push("Add", {"new/app.pipecd.yaml": pipeline("true", name="fresh")})
        async with w.agent():

            async def suggested() -> list[str]:
                answer = await w.console.call("ListUnregisteredApplications")
                return [one.name for one in answer.applications]

            assert await eventually(suggested) == ["fresh"]


async def test_an_agent_that_was_asked_to_restart_ends_well(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent() as agent:
        await w.application("shop", {"app.pipecd.yaml": pipeline("true")})
        asked = await w.console.call("RestartPiped", piped_id=w.piped_id)
        async with asyncio.timeout(60):
            await asyncio.wait([agent])
        assert agent.exception() is None
        answer = await w.console.call("GetCommand", command_id=asked.command_id)
        assert answer.command.status == 1
