"""Failures, approvals and deployment chains."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipecd.model.approval import DECISIONS
from pipecd.model.status import SyncStatus
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.stage_pb2 import StageStatus
from tests.controlplane.server_fixture import CallFailed
from tests.eventually import eventually
from tests.world import World, app_file, pipeline, world

AUTO_ROLLBACK = {"autoRollback": True}


def script(run: str, on_rollback: str = "") -> dict[str, Any]:
    return {"name": "SCRIPT_RUN", "with": {"run": run, "onRollback": on_rollback}}


def statuses(deployment: Deployment) -> dict[str, int]:
    return {stage.id: stage.status for stage in deployment.stages}


async def test_failure_rolls_back_the_stages_that_ran_and_names_the_failed_stage(tmp_path: Path) -> None:
    rolled_back = tmp_path / "rolled-back"
    async with world(tmp_path) as w, w.agent():
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline("true")})
        await w.wait_for_deployment(app)
        broken = pipeline(
            script("true", f"echo first >> {rolled_back}"),
            script("echo no; exit 7"),
            script("true", f"echo never >> {rolled_back}"),
            planner=AUTO_ROLLBACK,
        )
        commit = await w.push("Break", {"shop/app.pipecd.yaml": broken})
        ended = await w.wait_for_deployment(app, commit)
        assert ended.status == DeploymentStatus.DEPLOYMENT_FAILURE
        assert "SCRIPT_RUN" in ended.status_reason
        assert "7" in ended.status_reason
        stage_statuses = statuses(ended)
        assert stage_statuses["stage-1"] == StageStatus.STAGE_FAILURE
        assert stage_statuses["stage-2"] == StageStatus.STAGE_NOT_STARTED_YET
        assert stage_statuses["Rollback"] == StageStatus.STAGE_SUCCESS, ended
        assert stage_statuses["ScriptRunRollback"] == StageStatus.STAGE_SUCCESS
        assert rolled_back.read_text() == "first\n"

        await w.wait_for_sync_status(app, SyncStatus.OUT_OF_SYNC)


async def test_failure_without_rollback_fails_the_deployment(tmp_path: Path) -> None:
    rolled_back = tmp_path / "rolled-back"
    async with world(tmp_path) as w, w.agent():
        stages = [script("true", f"echo first >> {rolled_back}"), script("exit 7")]
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline(*stages)})
        ended = await w.wait_for_deployment(app)
        assert ended.status == DeploymentStatus.DEPLOYMENT_FAILURE
        assert not rolled_back.exists()


async def test_cancel_may_request_a_rollback_that_is_not_automatic(tmp_path: Path) -> None:
    rolled_back = tmp_path / "rolled-back"
    async with world(tmp_path) as w, w.agent():
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline("true")})
        await w.wait_for_deployment(app)
        stages = [script("true", f"echo first >> {rolled_back}"), script("echo started; sleep 600")]
        commit = await w.push("Hang", {"shop/app.pipecd.yaml": pipeline(*stages)})

        deployment_id = await w.wait_for_line(app, "stage-1", "started", commit)
        await w.console.call("CancelDeployment", deployment_id=deployment_id, force_rollback=True)
        ended = await w.wait_until_final(deployment_id)
        assert ended.status == DeploymentStatus.DEPLOYMENT_CANCELLED
        assert statuses(ended)["stage-1"] == StageStatus.STAGE_CANCELLED
        assert statuses(ended)["Rollback"] == StageStatus.STAGE_SUCCESS
        assert rolled_back.read_text() == "first\n"


async def test_out_of_sync_application_is_deployed_again_after_the_window(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        gate = tmp_path / "gate"
        rule = {"onOutOfSync": {"disabled": False, "minWindow": "1s"}}
        # The first run creates the gate and fails; every later run succeeds.
        text = pipeline(f"! mkdir {gate}", trigger=rule)
        app = await w.add_application("shop", {"app.pipecd.yaml": text})
        first = await w.wait_for_deployment(app)
        assert first.status == DeploymentStatus.DEPLOYMENT_FAILURE

        async def second_deployment() -> Deployment | None:
            await w.notify_push()
            deployments = [item for item in await w.deployments(app) if item.id != first.id]
            return deployments[0] if deployments else None

        second = await eventually(second_deployment)
        assert second is not None
        ended = await w.wait_until_final(second.id)
        assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS
        assert ended.trigger.commit.hash == first.trigger.commit.hash


async def test_approval_in_the_console_continues_the_deployment_and_rejection_ends_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        stages = [{"name": "WAIT_APPROVAL", "with": {"approvers": ["hello"]}}, script("true")]
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline(*stages)})

        async def waiting_id(other_than: str = "") -> str:
            deployments = [item for item in await w.deployments(app) if item.id != other_than]
            stages = deployments[0].stages if deployments else []
            return deployments[0].id if stages and stages[0].status == StageStatus.STAGE_RUNNING else ""

        deployment_id = await eventually(waiting_id)
        await w.console.call("ApproveStage", deployment_id=deployment_id, stage_id="stage-0", comment="Fine")
        ended = await w.wait_until_final(deployment_id)
        assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS
        assert "hello" in ended.stages[0].metadata["ApprovedBy"]
        (decision,) = json.loads(ended.stages[0].metadata[DECISIONS])
        assert (decision["by"], decision["verdict"], decision["comment"]) == ("hello", "approved", "Fine")

        await w.push("Too much", {"shop/app.pipecd.yaml": pipeline(*stages, script("false"))})
        second_id = await eventually(lambda: waiting_id(other_than=deployment_id))
        await w.console.call("RejectStage", deployment_id=second_id, stage_id="stage-0", comment="Too much")
        rejected = await w.wait_until_final(second_id)
        assert rejected.status == DeploymentStatus.DEPLOYMENT_CANCELLED
        assert rejected.status_reason == "Rejected by hello during stage WAIT_APPROVAL: Too much"
        (decision,) = json.loads(rejected.stages[0].metadata[DECISIONS])
        assert (decision["verdict"], decision["comment"]) == ("rejected", "Too much")


async def test_chain_deploys_its_blocks_in_order(tmp_path: Path) -> None:
    order = tmp_path / "order"
    async with world(tmp_path) as w, w.agent():
        first, second = await add_chain(w, f"echo first >> {order}; sleep 1", f"echo second >> {order}")
        ended = await w.wait_for_deployment(second)
        assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS
        assert order.read_text().split()[-2:] == ["first", "second"]
        assert ended.deployment_chain_id == (await w.wait_for_deployment(first)).deployment_chain_id != ""


async def test_failed_chain_cancels_its_later_blocks(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    async with world(tmp_path) as w, w.agent():
        _, second = await add_chain(w, "exit 1", f"touch {ran}")
        ended = await w.wait_for_deployment(second)
        assert ended.status == DeploymentStatus.DEPLOYMENT_CANCELLED
        assert not ran.exists()


async def add_chain(w: World, first_script: str, second_script: str) -> tuple[str, str]:
    """Adds two applications; a deployment of the first is the only one that triggers one of the second."""
    only_in_chain = {"onCommit": {"disabled": True}, "onChain": {"disabled": False}}
    second = await w.add_application(
        "second", {"app.pipecd.yaml": pipeline(second_script, name="second", trigger=only_in_chain)}
    )
    chain = {"chain": {"applications": [{"name": "second"}]}}
    first = await w.add_application(
        "first", {"app.pipecd.yaml": pipeline(first_script, name="first", postSync=chain)}
    )
    return first, second


async def test_failed_planning_ends_the_deployment_with_the_reason(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        app = await w.add_application("shop", {"app.pipecd.yaml": app_file()})
        await w.wait_for_deployment(app)
        response = await w.console.call("SyncApplication", application_id=app, sync_strategy=2)

        async def handled_command() -> Any:
            result = await w.console.call("GetCommand", command_id=response.command_id)
            return result.command if result.command.status else None

        command = await eventually(handled_command)
        ended = await w.wait_until_final(command.metadata["TriggeredDeploymentID"])
        assert ended.status == DeploymentStatus.DEPLOYMENT_FAILURE
        assert "has no pipeline" in ended.status_reason


async def test_a_pinned_rollback_holds_later_commits_until_it_is_unpinned(tmp_path: Path) -> None:
    """Also while the file at the head of the branch is invalid. Neither a commit nor a sync undoes it."""
    deployed = tmp_path / "deployed"

    def version(text: str) -> str:
        return pipeline(script(f"echo {text} >> {deployed}"))

    async with world(tmp_path) as w, w.agent():
        app = await w.add_application("shop", {"app.pipecd.yaml": version("one")})
        first = await w.wait_for_deployment(app)

        async def deployment_of(commit: str) -> Deployment:
            async def find() -> Deployment | None:
                found = [item for item in await w.deployments(app) if item.trigger.commit.hash == commit]
                return found[0] if found else None

            found = await eventually(find)
            assert found
            return await w.wait_until_final(found.id)

        await deployment_of(await w.push("Two", {"shop/app.pipecd.yaml": version("two")}))
        await w.push("Break the file", {"shop/app.pipecd.yaml": "kind: Nonsense"})

        response = await w.console.call("RollBackTo", deployment_id=first.id, reason="Two is slow")

        async def rolled_back() -> Deployment | None:
            latest = (await w.deployments(app))[-1]
            return latest if "pipecd/rollback-target" in latest.metadata_v2.shared.keyValues else None

        rollback = await eventually(rolled_back)
        assert rollback
        ended = await w.wait_until_final(rollback.id)
        assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS
        assert ended.trigger.commit.hash == first.trigger.commit.hash
        assert ended.trigger.strategy_summary.endswith("requested by hello: Two is slow")
        assert deployed.read_text().split() == ["one", "two", "one"]
        command = (await w.console.call("GetCommand", command_id=response.command_id)).command
        assert command.metadata["TriggeredDeploymentID"] == rollback.id

        third = await w.push("Three", {"shop/app.pipecd.yaml": version("three")})

        async def held() -> list[str]:
            pin = (await w.console.call("GetApplication", application_id=app)).application.pin
            return [commit.message for commit in pin.held_commits]

        async def third_is_held() -> bool:
            await w.notify_push()
            return await held() == ["Three", "Break the file", "Two"]

        await eventually(third_is_held)
        with pytest.raises(CallFailed, match=r"is pinned to commit \w+ by hello; remove the pin first"):
            await w.console.call("SyncApplication", application_id=app)
        assert len(await w.deployments(app)) == 3

        await w.console.call("Unpin", application_id=app)
        await w.notify_push()
        assert (await deployment_of(third)).status == DeploymentStatus.DEPLOYMENT_SUCCESS
        assert deployed.read_text().split() == ["one", "two", "one", "three"]
