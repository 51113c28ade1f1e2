"""The live state of applications on a real cluster: as a tree, with health, and soon after a change."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipecd.clock import SYSTEM_CLOCK
from pipecd.model.resource import Resource
from pipecd.platforms.connections import connection_pool
from pipecd.platforms.kubernetes import platform
from pipecd.platforms.kubernetes.live import load_live_state, watch_cluster
from tests.cluster.control_plane import Cluster
from tests.platforms.aws.observation import observation_request
from tests.platforms.aws.stage_runner import assert_succeeded
from tests.platforms.kubernetes.stage_runner import Shop, config_map, deployment

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
}


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path) -> Shop:
    return Shop(cluster, namespace, tmp_path)


class Live:
    """The live state of the application, as the agent reads it."""

    def __init__(self, shop: Shop, commit: Path) -> None:
        self._shop, self._commit = shop, commit
        self._changed = asyncio.Event()

    def on_change(self, application: str) -> None:
        if application == self._shop.application:
            self._changed.set()

    async def load(self) -> list[Resource]:
        request = await observation_request(platform, self._shop.runner(self._commit).provider, self._commit)
        application = replace(request.application, id=self._shop.application)
        return list(await load_live_state(replace(request, application=application)))

    async def until(self, check: Any) -> list[Resource]:
        async with asyncio.timeout(120):
            while True:
                self._changed.clear()
                if check(resources := await self.load()):
                    return resources
                await self._changed.wait()


@asynccontextmanager
async def following(shop: Shop, commit: Path) -> AsyncIterator[Live]:
    live = Live(shop, commit)
    async with connection_pool(SYSTEM_CLOCK):
        task = asyncio.create_task(watch_cluster(shop.runner(commit).provider, live.on_change))
        try:
            yield live
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_the_tree_contains_what_the_application_created(shop: Shop) -> None:
    commit = shop.commit(deployment("web"), config_map("settings"), SERVICE)
    assert_succeeded(await shop.runner(commit).run("K8S_SYNC"))
    async with following(shop, commit) as live:
        resources = await live.until(lambda found: len(found) == 5)
    by_kind = {resource.kind: resource for resource in resources}
    names = {resource.id: resource.kind for resource in resources}
    tree = {kind: [names[uid] for uid in found.parents] for kind, found in by_kind.items()}
    assert tree == {
        "ConfigMap": [],
        "Deployment": [],
        "Pod": ["ReplicaSet"],
        "ReplicaSet": ["Deployment"],
        "Service": [],
    }
    assert [names[uid] for uid in by_kind["Pod"].related] == ["Service"]
    assert by_kind["Pod"].api_version == "v1" and by_kind["Pod"].namespace == shop.namespace


async def test_a_change_is_seen_within_a_second(shop: Shop) -> None:
    commit = shop.commit(deployment("web"))
    assert_succeeded(await shop.runner(commit).run("K8S_SYNC"))
    async with following(shop, commit) as live:
        before = await live.until(lambda found: len(found) == 3)
        (pod,) = [found for found in before if found.kind == "Pod"]
        started = time.monotonic()
        await asyncio.to_thread(
            shop.patch, "pods", pod.name, {"metadata": {"annotations": {"pipecd.test/mode": "sick"}}}
        )
        await live.until(
            lambda found: any(item.id == pod.id and item.health is not pod.health for item in found)
        )
        assert time.monotonic() - started < 5.0
        print(f"seen after {time.monotonic() - started:.3f} s")


async def test_an_object_without_labels_is_found_by_its_key(shop: Shop) -> None:
    """As PipeCD's agent leaves it."""
    commit = shop.commit(config_map("settings"))
    assert_succeeded(await shop.runner(commit).run("K8S_SYNC"))
    shop.patch("configmaps", "settings", {"metadata": {"labels": None}})
    async with following(shop, commit) as live:
        (found,) = await live.until(len)
    assert found.name == "settings"
