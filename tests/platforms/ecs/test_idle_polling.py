"""An unchanged service causes few calls, and a change is detected immediately."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipecd.model.status import SyncStatus
from pipecd.piped.settings import DriftSettings, LiveStateSettings
from pipecd.schema.model.kind_pb2 import ECS
from tests.eventually import eventually
from tests.platforms.aws.emulator import REGION, Emulator
from tests.platforms.ecs.cloud import CLUSTER, SERVICE, Cloud, files
from tests.world import SETTINGS, world

PROVIDERS = [{"name": "ecs", "type": "ECS", "config": {"region": REGION}}]


async def test_a_drift_result_is_reused_until_the_live_state_changes(
    aws: Emulator, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    cloud: Cloud = request.getfixturevalue("cloud")
    settings = replace(
        SETTINGS,
        live_state=LiveStateSettings(interval=0.1),
        drift=DriftSettings(interval=0.1, max_reuse_intervals=100_000),
    )

    def comparisons() -> int:
        return len(aws.bodies("ecs.DescribeTaskDefinition"))

    async with world(tmp_path / "machines") as w, w.agent(platformProviders=PROVIDERS, settings=settings):
        await w.push("Begin", {f"shop/{file}": text for file, text in files(cloud, "v1").items()})
        app = await w.register("shop", kind=ECS, provider="ecs")
        await w.wait_for_deployment(app)
        await w.wait_for_sync_status(app, SyncStatus.SYNCED)

        async def idle() -> bool:
            """No further comparison during ten more live-state checks."""
            before, checks = comparisons(), len(aws.bodies("ecs.ListTasks"))

            async def checked() -> bool:
                return len(aws.bodies("ecs.ListTasks")) >= checks + 10

            await eventually(checked)
            return comparisons() == before

        assert await eventually(idle, 300)

        aws.client("ecs").update_service(cluster=CLUSTER, service=SERVICE, desiredCount=5)
        state = await w.wait_for_sync_status(app, SyncStatus.OUT_OF_SYNC)
        assert "+desiredCount: 2" in state.reason

        # A commit that changes only the desired state is compared although the live state is unchanged.
        commit_files = files(
            cloud, "v1", service={"desiredCount": 5}, trigger={"onCommit": {"disabled": True}}
        )
        await w.push("As it runs", {f"shop/{file}": text for file, text in commit_files.items()})
        await w.wait_for_sync_status(app, SyncStatus.SYNCED)
