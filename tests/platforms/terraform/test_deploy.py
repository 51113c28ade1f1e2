"""Terraform deployments from a push on, with a real control plane and a real agent."""

from pathlib import Path
from typing import Any

from pipecd.model.status import StageStatus
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.deployment_pb2 import DeploymentStatus as Status
from tests.eventually import eventually
from tests.platforms.terraform.shop import app_file, configuration, data, values
from tests.world import World, world

PROVIDERS = [{"name": "terraform", "type": "TERRAFORM"}]


def files(folder: Path, body: str, *stages: Any, **app_input: Any) -> dict[str, str | None]:
    return {
        "app.pipecd.yaml": app_file(list(stages), **app_input),
        "main.tf": configuration(folder / "state", body),
    }


async def wait_until_running(w: World, application: str, stage_id: str) -> Deployment:
    """The application's last deployment, when that stage is running."""

    async def current_deployment() -> Deployment | None:
        deployments = await w.deployments(application)
        stages = {stage.id: stage.status for stage in deployments[-1].stages} if deployments else {}
        return deployments[-1] if stages.get(stage_id) == StageStatus.RUNNING.value else None

    deployment = await eventually(current_deployment)
    assert deployment
    return deployment


async def test_the_plan_survives_the_agent_and_is_applied_after_approval(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        async with w.agent(platformProviders=PROVIDERS):
            stages = ("TERRAFORM_PLAN", "WAIT_APPROVAL", "TERRAFORM_APPLY")
            app = await w.add_application("shop", files(tmp_path, data("a", "plain-secret"), *stages))
            deployment = await wait_until_running(w, app, "stage-1")
            assert values(tmp_path / "state") == {}
            await w.wait_for_log(deployment.id, "stage-0", "will be created")
            assert deployment.stages[0].status_reason == "1 to add, 0 to change, 0 to destroy"
        stored = list((tmp_path / "plane").rglob("terraform-plan.*"))
        assert stored
        assert not any(b"plain-secret" in file.read_bytes() for file in stored)
        # Another agent with another disk.
        async with w.agent(platformProviders=PROVIDERS, home=tmp_path / "elsewhere"):
            await w.console.call("ApproveStage", deployment_id=deployment.id, stage_id="stage-1")
            ended = await w.wait_until_final(deployment.id)
            assert ended.status == Status.DEPLOYMENT_SUCCESS, ended.status_reason
            log = await w.wait_for_log(deployment.id, "stage-2", "Apply complete!")
            assert "terraform plan" not in log
            assert values(tmp_path / "state") == {"a": "plain-secret"}
            assert ended.stages[2].status_reason == "Applied: 1 added, 0 changed, 0 destroyed"


async def test_a_commit_that_fails_after_its_apply_is_rolled_back(tmp_path: Path) -> None:
    def stages(check: str) -> tuple[Any, ...]:
        return "TERRAFORM_APPLY", {"name": "SCRIPT_RUN", "with": {"run": check}}

    async with world(tmp_path) as w, w.agent(platformProviders=PROVIDERS):
        good = files(tmp_path, data("a", "1"), *stages("true"), autoRollback=True)
        app = await w.add_application("shop", good)
        first = await w.wait_for_deployment(app)
        assert first.status == Status.DEPLOYMENT_SUCCESS, first.status_reason
        bad = files(tmp_path, data("a", "2") + data("b", "1"), *stages("exit 1"), autoRollback=True)
        commit = await w.push("Break", {f"shop/{name}": text for name, text in bad.items()})
        ended = await w.wait_for_deployment(app, commit)
        assert ended.status == Status.DEPLOYMENT_FAILURE
        assert values(tmp_path / "state") == {"a": "1"}
        rollback = next(stage for stage in ended.stages if stage.name == "ROLLBACK")
        assert rollback.status_reason == "Applied: 0 added, 1 changed, 1 destroyed"


async def test_a_quick_sync_with_nothing_to_do_succeeds(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent(platformProviders=PROVIDERS):
        app = await w.add_application("shop", files(tmp_path, data("a", "1")))
        assert (await w.wait_for_deployment(app)).status == Status.DEPLOYMENT_SUCCESS
        commit = await w.push("Say more", {"shop/README.md": "words\n"})
        ended = await w.wait_for_deployment(app, commit)
        assert ended.status == Status.DEPLOYMENT_SUCCESS
        stage = ended.stages[0]
        assert (stage.name, stage.status_reason) == ("TERRAFORM_SYNC", "No changes")


async def test_a_temporary_state_is_refused_before_anything_runs(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent(platformProviders=PROVIDERS):
        app = await w.add_application("shop", {"app.pipecd.yaml": app_file(), "main.tf": data("a", "1")})
        ended = await w.wait_for_deployment(app)
        assert ended.status == Status.DEPLOYMENT_FAILURE
        assert "in a temporary checkout; configure a persistent backend" in ended.status_reason
        assert not ended.stages
