"""Failures, approvals and chains, as people see them."""

from pathlib import Path
from typing import Any

from pipecd.schema.model.application_pb2 import ApplicationSyncStatus
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.stage_pb2 import StageStatus
from tests.eventually import eventually
from tests.world import World, app_file, pipeline, world

WORKING = {"autoRollback": True}


def script(run: str, undo: str = "") -> dict[str, Any]:
    return {"name": "SCRIPT_RUN", "with": {"run": run, "onRollback": undo}}


def statuses(deployment: Deployment) -> dict[str, int]:
    return {stage.id: stage.status for stage in deployment.stages}


async def test_a_failure_undoes_what_ran_and_says_what_failed(tmp_path: Path) -> None:
    undone = tmp_path / "undone"
    async with world(tmp_path) as w, w.agent():
        app = await w.application("shop", {"app.pipecd.yaml": pipeline("true")})
        await w.ended(app)
        broken = pipeline(
            script("true", f"echo first >> {undone}"),
            script("echo no; exit 7"),
            script("true", f"echo never >> {undone}"),
            planner=WORKING,
        )
        commit = await w.push("Break", {"shop/app.pipecd.yaml": broken})
        ended = await w.ended(app, commit)
        assert ended.status == DeploymentStatus.DEPLOYMENT_FAILURE
        assert "stage-1" in ended.status_reason
        assert "7" in ended.status_reason
        found = statuses(ended)
        assert found["stage-1"] == StageStatus.STAGE_FAILURE
        assert found["stage-2"] == StageStatus.STAGE_NOT_STARTED_YET
        assert found["Rollback"] == StageStatus.STAGE_SUCCESS, ended
        assert found["ScriptRunRollback"] == StageStatus.STAGE_SUCCESS
        assert undone.read_text() == "first\n"

        async def out_of_sync() -> bool:
            # The agent tells it after the deployment's end.
            return bool((await w.state(app)).status == ApplicationSyncStatus.OUT_OF_SYNC)

        await eventually(out_of_sync)


async def test_where_no_rollback_is_wanted_the_failure_stands(tmp_path: Path) -> None:
    undone = tmp_path / "undone"
    async with world(tmp_path) as w, w.agent():
        stages = [script("true", f"echo first >> {undone}"), script("exit 7")]
        app = await w.application("shop", {"app.pipecd.yaml": pipeline(*stages)})
        ended = await w.ended(app)
        assert ended.status == DeploymentStatus.DEPLOYMENT_FAILURE
        assert not undone.exists()


async def test_who_cancels_may_ask_for_a_rollback_that_is_not_automatic(tmp_path: Path) -> None:
    undone = tmp_path / "undone"
    async with world(tmp_path) as w, w.agent():
        app = await w.application("shop", {"app.pipecd.yaml": pipeline("true")})
        await w.ended(app)
        stages = [script("true", f"echo first >> {undone}"), script("echo begun; sleep 600")]
        commit = await w.push("Hang", {"shop/app.pipecd.yaml": pipeline(*stages)})

        async def at_work() -> str:
            made = [one for one in await w.deployments(app) if one.trigger.commit.hash == commit]
            return made[0].id if made and "begun" in await w.log(made[0].id, "stage-1") else ""

        deployment_id = await eventually(at_work)
        await w.console.call("CancelDeployment", deployment_id=deployment_id, force_rollback=True)
        ended = await w.over(deployment_id)
        assert ended.status == DeploymentStatus.DEPLOYMENT_CANCELLED
        assert statuses(ended)["stage-1"] == StageStatus.STAGE_CANCELLED
        assert statuses(ended)["Rollback"] == StageStatus.STAGE_SUCCESS
        assert undone.read_text() == "first\n"


async def test_out_of_sync_deploys_again_after_the_window(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        gate = tmp_path / "gate"
        rule = {"onOutOfSync": {"disabled": False, "minWindow": "1s"}}
        # The first run fails and makes the gate, so every later one passes, however soon it comes.
        text = pipeline(f"! mkdir {gate}", trigger=rule)
        app = await w.application("shop", {"app.pipecd.yaml": text})
        first = await w.ended(app)
        assert first.status == DeploymentStatus.DEPLOYMENT_FAILURE

        async def again() -> Deployment | None:
            await w.hint()
            made = [one for one in await w.deployments(app) if one.id != first.id]
            return made[0] if made else None

        second = await eventually(again)
        assert second is not None
        ended = await w.over(second.id)
        assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS
        assert ended.trigger.commit.hash == first.trigger.commit.hash


async def test_an_approval_of_the_console_lets_a_deployment_go_on(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        stages = [{"name": "WAIT_APPROVAL", "with": {"approvers": ["hello"]}}, script("true")]
        app = await w.application("shop", {"app.pipecd.yaml": pipeline(*stages)})

        async def waiting() -> str:
            made = await w.deployments(app)
            stages = made[0].stages if made else []
            return made[0].id if stages and stages[0].status == StageStatus.STAGE_RUNNING else ""

        deployment_id = await eventually(waiting)
        await w.console.call("ApproveStage", deployment_id=deployment_id, stage_id="stage-0")
        ended = await w.over(deployment_id)
        assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS
        assert "hello" in ended.stages[0].metadata["ApprovedBy"]


async def test_a_chain_deploys_one_block_after_the_other(tmp_path: Path) -> None:
    order = tmp_path / "order"
    async with world(tmp_path) as w, w.agent():
        first, second = await chained(w, f"echo first >> {order}; sleep 1", f"echo second >> {order}")
        ended = await w.ended(second)
        assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS
        assert order.read_text().split()[-2:] == ["first", "second"]
        assert ended.deployment_chain_id == (await w.ended(first)).deployment_chain_id != ""


async def test_a_chain_that_breaks_cancels_what_was_to_follow(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    async with world(tmp_path) as w, w.agent():
        _, second = await chained(w, "exit 1", f"touch {ran}")
        ended = await w.ended(second)
        assert ended.status == DeploymentStatus.DEPLOYMENT_CANCELLED
        assert not ran.exists()


async def chained(w: World, one: str, other: str) -> tuple[str, str]:
    """Two applications; a deployment of the first is followed by one of the second, and nothing else is."""
    quiet = {"onCommit": {"disabled": True}, "onChain": {"disabled": False}}
    second = await w.application("second", {"app.pipecd.yaml": pipeline(other, name="second", trigger=quiet)})
    chain = {"chain": {"applications": [{"name": "second"}]}}
    first = await w.application("first", {"app.pipecd.yaml": pipeline(one, name="first", postSync=chain)})
    return first, second


async def test_a_plan_that_cannot_be_made_ends_the_deployment_with_its_sentence(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        app = await w.application("shop", {"app.pipecd.yaml": app_file()})
        await w.ended(app)
        asked = await w.console.call("SyncApplication", application_id=app, sync_strategy=2)

        async def answered() -> Any:
            answer = await w.console.call("GetCommand", command_id=asked.command_id)
            return answer.command if answer.command.status else None

        command = await eventually(answered)
        ended = await w.over(command.metadata["TriggeredDeploymentID"])
        assert ended.status == DeploymentStatus.DEPLOYMENT_FAILURE
        assert "has no pipeline" in ended.status_reason
