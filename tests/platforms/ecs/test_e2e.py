"""From a push to shifted traffic and back: real control plane, agent and Git server, emulated AWS."""

from pathlib import Path

from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.kind_pb2 import ECS
from tests.eventually import eventually
from tests.platforms.aws.emulator import REGION, Emulator
from tests.platforms.ecs.cloud import ALL_TO_PRIMARY, Cloud, files
from tests.world import world

PROVIDERS = [{"name": "ecs", "type": "ECS", "config": {"region": REGION}}]
STAGES = [
    {"name": "ECS_CANARY_ROLLOUT", "with": {"scale": 50}},
    {"name": "ECS_TRAFFIC_ROUTING", "with": {"canary": 20}},
    {"name": "WAIT_APPROVAL"},
    {"name": "ECS_PRIMARY_ROLLOUT"},
    {"name": "ECS_TRAFFIC_ROUTING", "with": {"primary": 100}},
    {"name": "ECS_CANARY_CLEAN"},
]


async def test_a_cancelled_canary_loses_its_traffic_and_its_tasks(
    aws: Emulator, cloud: Cloud, tmp_path: Path
) -> None:
    def commit(name: str) -> dict[str, str | None]:
        commit_files = files(cloud, name, pipeline={"stages": STAGES})
        return {f"shop/{file}": text for file, text in commit_files.items()}

    async with world(tmp_path / "world") as w, w.agent(platformProviders=PROVIDERS):
        await w.push("Begin", commit("v1"))
        app = await w.register("shop", kind=ECS, provider="ecs")
        first = await w.wait_for_deployment(app)
        assert first.status == DeploymentStatus.DEPLOYMENT_SUCCESS, first.status_reason
        assert cloud.running() == {"v1": "PRIMARY"}
        cloud.serving = True

        await w.push("Better", commit("v2"))

        async def shifted() -> bool:
            return cloud.weights() == [{"primary": 80, "canary": 20}] * 3

        await eventually(shifted)
        second = (await w.deployments(app))[-1]
        await w.console.call("CancelDeployment", deployment_id=second.id)
        final = await w.wait_until_final(second.id)
        assert final.status == DeploymentStatus.DEPLOYMENT_CANCELLED
        assert cloud.running() == {"v1": "PRIMARY"} and cloud.weights() == ALL_TO_PRIMARY
