"""The agent is killed at random requests of a deployment. Afterwards everything is as without kills."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from pipecd.model.stage import Done, Failed, Outcome, Work
from pipecd.platforms.kubernetes.cluster.api import ApiClient
from pipecd.platforms.kubernetes.stages import job
from tests.cluster.control_plane import Cluster
from tests.platforms.aws.stage_runner import assert_succeeded
from tests.platforms.kubernetes.stage_runner import Shop, config_map, deployment


class Killer:
    """Kills the agent at random: before or after a request takes effect, or after a stage's call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seed: int, times: int = 8) -> None:
        self._random, self._remaining, self.kills = random.Random(seed), times, 0
        self._countdown = 0
        original = ApiClient.send

        async def send(client: ApiClient, *arguments: Any, **options: Any) -> Any:
            self._countdown -= 1
            if self._countdown == 0 and self._random.random() < 0.5:
                raise asyncio.CancelledError
            answer = await original(client, *arguments, **options)
            if self._countdown == 0:
                raise asyncio.CancelledError
            return answer

        monkeypatch.setattr(ApiClient, "send", send)

    async def __call__(self, stage: Any, work: Work[Any]) -> Outcome | None:
        if not self._remaining:
            return await stage(work)
        self._remaining -= 1
        if self._random.random() < 0.2:
            await stage(work)
            self.kills += 1
            return None
        self._countdown = self._random.randint(1, 12)
        try:
            return await stage(work)
        except asyncio.CancelledError:
            self.kills += 1
            return None
        finally:
            self._countdown = 0


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(job, "CALL_SECONDS", 0.5)
    return Shop(cluster, namespace, tmp_path)


def state(shop: Shop) -> dict[str, Any]:
    items = shop.cluster.get(shop.path("configmaps"))["items"]
    found: dict[str, Any] = {item["metadata"]["name"]: item.get("data") for item in items}
    live = shop.get("deployments", "web")
    found["web"] = live["spec"]["template"]["spec"]["containers"][0]["image"], live["metadata"]["generation"]
    return found


@pytest.mark.parametrize("seed", range(5))
async def test_a_killed_agent_deploys_and_rolls_back_as_one_that_lives(
    shop: Shop, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prune = {"quickSync": {"prune": True}}
    first = shop.commit(deployment("web", "web:1"), config_map("a", {"x": "1"}), config_map("b"), **prune)
    second = shop.commit(deployment("web", "web:2"), config_map("a", {"y": "2"}), config_map("c"), **prune)
    broken = shop.commit(deployment("web", "web:nopull", deadline=2), config_map("a", {"z": "3"}))
    killer = Killer(monkeypatch, seed)
    runner = shop.runner(first)
    assert_succeeded(await runner.run("K8S_SYNC", killer=killer))
    assert state(shop) == {"a": {"x": "1"}, "b": None, "web": ("web:1", 1)}
    runner = runner.next_deployment(second)
    assert_succeeded(await runner.run("K8S_SYNC", killer=Killer(monkeypatch, seed + 100)))
    after_second = {"a": {"y": "2"}, "c": None, "web": ("web:2", 2)}
    assert state(shop) == after_second
    runner = runner.next_deployment(broken)
    assert isinstance(await runner.run("K8S_SYNC", killer=Killer(monkeypatch, seed + 200)), Failed)
    outcome = await runner.run("ROLLBACK", killer=Killer(monkeypatch, seed + 300))
    assert isinstance(outcome, Done)
    assert state(shop) == {**after_second, "web": ("web:2", 4)}
    assert killer.kills
