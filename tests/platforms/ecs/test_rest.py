"""A service that nobody touches costs few calls, and is seen at once when somebody does."""

from pathlib import Path
from typing import Any

import pytest

from pipecd.model.status import SyncStatus
from pipecd.piped.observe import drift
from pipecd.platforms.ecs import platform
from pipecd.schema.model.kind_pb2 import ECS
from tests.eventually import eventually
from tests.platforms.aws.emulator import REGION, Emulator
from tests.platforms.ecs.cloud import CLUSTER, SERVICE, files
from tests.platforms.ecs.cloud import World as Cloud
from tests.world import World, world

PROVIDERS = [{"name": "ecs", "type": "ECS", "config": {"region": REGION}}]


async def shown(w: World, app: str, wanted: SyncStatus) -> Any:
    async def look() -> Any:
        state = await w.state(app)
        assert SyncStatus(state.status) is wanted, state
        return state

    return await eventually(look)


async def test_an_answer_stands_until_what_runs_is_seen_to_move(
    aws: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    cloud: Cloud = request.getfixturevalue("world")
    monkeypatch.setattr(platform, "live_interval", 0.1)
    monkeypatch.setattr(platform, "drift_interval", 0.1)
    monkeypatch.setattr(drift, "STANDS", 100_000)

    def compared() -> int:
        return len(aws.bodies("ecs.DescribeTaskDefinition"))

    async with world(tmp_path / "machines") as w, w.agent(platformProviders=PROVIDERS):
        await w.push("Begin", {f"shop/{file}": text for file, text in files(cloud, "v1").items()})
        app = await w.registered("shop", kind=ECS, provider="ecs")
        await w.ended(app)
        await shown(w, app, SyncStatus.SYNCED)

        async def at_rest() -> bool:
            """The same number of comparisons, though it was looked at ten times more."""
            before, looks = compared(), len(aws.bodies("ecs.ListTasks"))

            async def looked() -> bool:
                return len(aws.bodies("ecs.ListTasks")) >= looks + 10

            await eventually(looked)
            return compared() == before

        assert await eventually(at_rest, 300)

        aws.client("ecs").update_service(cluster=CLUSTER, service=SERVICE, desiredCount=5)
        seen = await shown(w, app, SyncStatus.OUT_OF_SYNC)
        assert "+desiredCount: 2" in seen.reason

        # A commit that changes only what Git asks for is compared though nothing moved.
        five = files(cloud, "v1", service={"desiredCount": 5}, trigger={"onCommit": {"disabled": True}})
        await w.push("As it runs", {f"shop/{file}": text for file, text in five.items()})
        await shown(w, app, SyncStatus.SYNCED)
