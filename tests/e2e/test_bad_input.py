"""Invalid application files: reported on that application, without effect on others, and cleared by a fix."""

import asyncio
from pathlib import Path

from pipecd.model.status import SyncStatus
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from tests.eventually import eventually
from tests.world import pipeline, world

HEAD = "apiVersion: pipecd.dev/v1beta1\nkind: TerraformApp\nspec:\n  name: shop\n"
#: By kind of error: the file's content, and part of the reported reason.
INVALID_FILES = {
    "syntax": (HEAD + "  pipeline: [\n", "shop/app.pipecd.yaml:"),
    "a tab": (HEAD + "\tpipeline:\n", "shop/app.pipecd.yaml:5"),
    "unknown stage": (
        HEAD + "  pipeline:\n    stages:\n      - name: BAKE\n",
        ":7: spec.pipeline.stages[0]",
    ),
    "a stage that this agent cannot execute": (
        HEAD + "  pipeline:\n    stages:\n      - name: WAIT\n      - name: K8S_SYNC\n",
        "shop/app.pipecd.yaml:8: spec.pipeline.stages[1].name: this agent has no stage K8S_SYNC for"
        " TerraformApp; valid stages: ANALYSIS, CUSTOM_SYNC, SCRIPT_RUN, TERRAFORM_APPLY, ",
    ),
    "wrong type": (HEAD + "  timeout: [1]\n", ":5: spec.timeout"),
    "duplicate key": (HEAD + "  name: again\n", ":5"),
    "unknown key": (HEAD + "  pipelin: {}\n", "pipeline"),
    "path outside": (
        HEAD + "  encryption:\n    decryptionTargets: [../../etc/passwd]\n",
        "leaves the application's directory",
    ),
    "bad pattern": (
        HEAD + "  trigger:\n    onCommit:\n      paths: ['a[']\n",
        "onCommit.paths[0]",
    ),
    "bad regex": (HEAD + "  commitMatcher:\n    pipeline: '('\n", "spec.commitMatcher.pipeline"),
    "another kind": (HEAD.replace("TerraformApp", "Piped"), "Piped is not an application"),
    "empty": ("", "shop/app.pipecd.yaml"),
    "no text": ("\x00\x01", "shop/app.pipecd.yaml"),
    "missing": (None, "there is no such file"),
}


async def test_each_error_is_reported_and_a_valid_file_clears_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        valid = pipeline("true")
        shop = await w.add_application("shop", {"app.pipecd.yaml": valid})
        other = await w.add_application("other", {"app.pipecd.yaml": pipeline("true", name="other")})
        await w.wait_for_deployment(shop)
        await w.wait_for_deployment(other)
        for name, (text, expected) in INVALID_FILES.items():
            commit = await w.push(name, {"shop/app.pipecd.yaml": text, "other/value": name})
            await w.wait_for_sync_status(shop, SyncStatus.INVALID_CONFIG, reason=expected)
            assert (
                await w.wait_for_deployment(other, commit)
            ).status == DeploymentStatus.DEPLOYMENT_SUCCESS, name
        await w.push("Fix", {"shop/app.pipecd.yaml": valid})

        await w.wait_for_sync_status(shop, SyncStatus.SYNCED)
        assert len(await w.deployments(shop)) == 1


async def test_error_is_reported_again_after_the_running_deployment_ends(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    waits = f"while [ ! -e {gate} ]; do sleep 0.1; done"
    # The interval is long: the repository is checked only after notifications.
    async with world(tmp_path) as w, w.agent(syncInterval="10h"):
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline(waits)})

        async def stage_started() -> bool:
            return any(stage.status for item in await w.deployments(app) for stage in item.stages)

        async def worker_ended() -> bool:
            return not any(task.get_name().startswith("worker ") for task in asyncio.all_tasks())

        await eventually(stage_started)
        await w.push("Break", {"shop/app.pipecd.yaml": HEAD + "  timeout: soon\n"})
        await w.wait_for_sync_status(app, SyncStatus.INVALID_CONFIG)
        gate.touch()
        assert (await w.wait_for_deployment(app)).status == DeploymentStatus.DEPLOYMENT_SUCCESS
        # By then the worker has reported the application as synced.
        await eventually(worker_ended)
        await w.wait_for_sync_status(app, SyncStatus.INVALID_CONFIG)


async def test_sync_of_an_invalid_application_fails_with_the_reason(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        app = await w.add_application("shop", {"app.pipecd.yaml": HEAD + "  timeout: soon\n"})
        response = await w.console.call("SyncApplication", application_id=app)

        async def failure_reason() -> str:
            command = (await w.console.call("GetCommand", command_id=response.command_id)).command
            return str(command.metadata["reason"]) if command.status == 2 else ""

        assert "shop/app.pipecd.yaml:5: spec.timeout" in await eventually(failure_reason)
        assert not await w.deployments(app)
