"""From a push to shifted traffic and back, through every real door of agent, control plane, Git and AWS."""

from collections.abc import Callable
from pathlib import Path

import yaml

from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import ECS
from tests.eventually import eventually
from tests.platforms.aws.emulator import REGION, Emulator
from tests.platforms.ecs.conftest import World as Cloud
from tests.platforms.ecs.test_stages import WHOLE
from tests.world import REPOSITORY, World
from tests.world import world as machines

PROVIDERS = [{"name": "ecs", "type": "ECS", "config": {"region": REGION}}]
STAGES = [
    {"name": "ECS_CANARY_ROLLOUT", "with": {"scale": 50}},
    {"name": "ECS_TRAFFIC_ROUTING", "with": {"canary": 20}},
    {"name": "WAIT_APPROVAL"},
    {"name": "ECS_PRIMARY_ROLLOUT"},
    {"name": "ECS_TRAFFIC_ROUTING", "with": {"primary": 100}},
    {"name": "ECS_CANARY_CLEAN"},
]


def files(folder: Path) -> dict[str, str | None]:
    app = yaml.safe_load((folder / "app.pipecd.yaml").read_text())
    app["spec"]["pipeline"] = {"stages": STAGES}
    made = {f"shop/{path.name}": path.read_text() for path in folder.iterdir()}
    return {**made, "shop/app.pipecd.yaml": yaml.safe_dump(app)}


async def registered(w: World) -> str:
    await eventually(w.has_repositories)
    path = ApplicationGitPath(
        repo=ApplicationGitRepository(id=REPOSITORY), path="shop", config_filename="app.pipecd.yaml"
    )
    made = await w.console.call(
        "AddApplication", name="shop", piped_id=w.piped_id, kind=ECS, platform_provider="ecs", git_path=path
    )
    return str(made.application_id)


async def test_a_cancelled_canary_loses_its_traffic_and_its_tasks(
    aws: Emulator, world: Cloud, checkout: Callable[..., Path], tmp_path: Path
) -> None:
    cloud = world
    async with machines(tmp_path / "world") as w, w.agent(platformProviders=PROVIDERS):
        await w.push("Begin", files(checkout("v1")))
        app = await registered(w)
        first = await w.ended(app)
        assert first.status == DeploymentStatus.DEPLOYMENT_SUCCESS, first.status_reason
        assert cloud.running() == {"v1": "PRIMARY"}
        cloud.serving = True

        await w.push("Better", files(checkout("v2")))

        async def shifted() -> bool:
            return cloud.weights() == [{"primary": 80, "canary": 20}] * 3

        await eventually(shifted, 60)
        second = (await w.deployments(app))[-1]
        await w.console.call("CancelDeployment", deployment_id=second.id)
        over = await w.over(second.id, 60)
        assert over.status == DeploymentStatus.DEPLOYMENT_CANCELLED
        assert cloud.running() == {"v1": "PRIMARY"} and cloud.weights() == WHOLE
