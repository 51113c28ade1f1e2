"""Whatever stands in an application's file: it shows on that application, stops no other, and heals."""

import asyncio
from pathlib import Path

from pipecd.schema.model.application_pb2 import ApplicationSyncStatus
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from tests.eventually import eventually
from tests.world import pipeline, world

HEAD = "apiVersion: pipecd.dev/v1beta1\nkind: TerraformApp\nspec:\n  name: shop\n"
#: What is wrong → the file, and words of what people read.
BROKEN = {
    "syntax": (HEAD + "  pipeline: [\n", "shop/app.pipecd.yaml:"),
    "a tab": (HEAD + "\tpipeline:\n", "shop/app.pipecd.yaml:5"),
    "unknown stage": (
        HEAD + "  pipeline:\n    stages:\n      - name: BAKE\n",
        ":7: spec.pipeline.stages[0]",
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


async def test_each_mistake_shows_and_the_good_file_heals_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        good = pipeline("true")
        shop = await w.application("shop", {"app.pipecd.yaml": good})
        other = await w.application("other", {"app.pipecd.yaml": pipeline("true", name="other")})
        await w.ended(shop)
        await w.ended(other)
        for name, (text, words) in BROKEN.items():
            commit = await w.push(name, {"shop/app.pipecd.yaml": text, "other/value": name})

            async def shown(name: str = name, words: str = words) -> bool:
                state = await w.state(shop)
                assert state.status == ApplicationSyncStatus.INVALID_CONFIG, name
                assert words in state.reason, f"{name}: {state.reason}"
                return True

            await eventually(shown)
            assert (await w.ended(other, commit)).status == DeploymentStatus.DEPLOYMENT_SUCCESS, name
        await w.push("Mend", {"shop/app.pipecd.yaml": good})

        async def healed() -> bool:
            return bool((await w.state(shop)).status == ApplicationSyncStatus.SYNCED)

        await eventually(healed)
        assert len(await w.deployments(shop)) == 1


async def test_a_mistake_shows_again_once_the_deployment_under_way_is_over(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    waits = f"while [ ! -e {gate} ]; do sleep 0.1; done"
    # No look at the repository but those that somebody asks for.
    async with world(tmp_path) as w, w.agent(syncInterval="10h"):
        app = await w.application("shop", {"app.pipecd.yaml": pipeline(waits)})

        async def at_work() -> bool:
            return any(stage.status for one in await w.deployments(app) for stage in one.stages)

        async def shown() -> bool:
            return bool((await w.state(app)).status == ApplicationSyncStatus.INVALID_CONFIG)

        async def left() -> bool:
            return not any(task.get_name().startswith("worker ") for task in asyncio.all_tasks())

        await eventually(at_work)
        await w.push("Break", {"shop/app.pipecd.yaml": HEAD + "  timeout: soon\n"})
        await eventually(shown)
        gate.touch()
        assert (await w.ended(app)).status == DeploymentStatus.DEPLOYMENT_SUCCESS
        # By then it has told that the application is in sync.
        await eventually(left)
        await eventually(shown)


async def test_who_syncs_a_broken_application_is_told_why_not(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        app = await w.application("shop", {"app.pipecd.yaml": HEAD + "  timeout: soon\n"})
        asked = await w.console.call("SyncApplication", application_id=app)

        async def refused() -> str:
            command = (await w.console.call("GetCommand", command_id=asked.command_id)).command
            return str(command.metadata["reason"]) if command.status == 2 else ""

        assert "shop/app.pipecd.yaml:5: spec.timeout" in await eventually(refused)
        assert not await w.deployments(app)
