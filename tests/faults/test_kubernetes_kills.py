"""A sync and its rollback have the same result whenever the agent is killed with SIGKILL.

The cluster is a real API server with its controllers. The agent is killed shortly after something changed in
the application's namespace, or at a random step of its event loop.
"""

import asyncio
import json
import random
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipecd.platforms.kubernetes.mark import APPLICATION
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.kind_pb2 import KUBERNETES
from tests.cluster.control_plane import Cluster
from tests.cluster.shared import shared_cluster
from tests.faults.kills import AGENT_ONLY, KILLS, SEED, Moment, check_ended, has_ended, kill_until_ended
from tests.faults.processes import start_processes
from tests.platforms.kubernetes.conftest import create_namespace
from tests.platforms.kubernetes.stage_runner import config_map, deployment

#: In each of two deployments.
KUBERNETES_KILLS = max(2, KILLS // 20)
#: How long a process may run before the change after which it is killed (seconds).
_MAX_WAIT = 10.0
#: Changes in the namespace that may happen before that, also by controllers.
_MAX_CHANGES = 8
_CONFIG_MAPS = 6

pytestmark = [pytest.mark.kill, pytest.mark.timeout(300 + KUBERNETES_KILLS * 60)]


def files(namespace: str, image: str, *names: str) -> dict[str, str | None]:
    spec = {"name": "shop", "input": {"namespace": namespace}, "quickSync": {"prune": True}}
    config = {"apiVersion": "pipecd.dev/v1beta1", "kind": "KubernetesApp", "spec": spec}
    manifests = [deployment("web", image, replicas=2, deadline=3)]
    manifests += [config_map(name, {"image": image}) for name in names]
    return {
        "shop/app.pipecd.yaml": json.dumps(config),
        "shop/m.yaml": "---\n".join(json.dumps(manifest) + "\n" for manifest in manifests),
    }


class Namespace:
    """The objects of a namespace, and the changes that happen to them."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name
        #: Called in another thread after each change.
        self.on_change: Callable[[], None] | None = None
        for path in (self._path("configmaps"), self._path("deployments")):
            threading.Thread(target=self._follow, args=(path,), daemon=True).start()

    def _path(self, plural: str) -> str:
        root = "/apis/apps/v1" if plural in ("deployments", "replicasets") else "/api/v1"
        return f"{root}/namespaces/{self.name}/{plural}"

    def _follow(self, path: str) -> None:
        with suppress(OSError), self.cluster.open(f"{path}?watch=1", timeout=600) as lines:
            for _ in lines:
                if on_change := self.on_change:
                    on_change()

    def list(self, plural: str) -> dict[str, Any]:
        items = self.cluster.get(self._path(plural))["items"]
        return {item["metadata"]["name"]: item for item in items}

    def create(self, body: Mapping[str, Any]) -> None:
        self.cluster.request(f"{self._path('configmaps')}?fieldManager=operator", body)

    def content(self) -> tuple[str, dict[str, str]]:
        """The image of the Deployment, and the application's ConfigMaps."""
        web = self.list("deployments")["web"]
        settings = {
            name: found["data"]["image"]
            for name, found in self.list("configmaps").items()
            if name.startswith("settings-")
        }
        return web["spec"]["template"]["spec"]["containers"][0]["image"], settings

    def others(self) -> dict[str, tuple[str, str]]:
        """Objects that the application does not own."""
        return {
            name: (found["metadata"]["uid"], found["metadata"]["resourceVersion"])
            for name, found in self.list("configmaps").items()
            if name.startswith("other-")
        }


def after_change(namespace: Namespace, ended: Callable[[], Awaitable[bool]]) -> Moment:
    """After some changes in the namespace."""

    @asynccontextmanager
    async def moment(rng: random.Random) -> AsyncIterator[None]:
        loop, reached, countdown = asyncio.get_running_loop(), asyncio.Event(), rng.randint(1, _MAX_CHANGES)

        def count() -> None:
            nonlocal countdown
            countdown -= 1
            if countdown == 0:
                loop.call_soon_threadsafe(reached.set)

        namespace.on_change = count
        until = time.monotonic() + _MAX_WAIT
        while not reached.is_set() and time.monotonic() < until and not await ended():
            with suppress(TimeoutError):
                await asyncio.wait_for(reached.wait(), 0.3)
        namespace.on_change = None
        yield

    return moment


async def test_a_sync_and_its_rollback_have_the_same_result_whenever_the_agent_is_killed(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    print(f"PIPECD_KILL_SEED={SEED}")
    rng, cluster = random.Random(SEED), shared_cluster(tmp_path_factory)
    name = f"test-{uuid.uuid4().hex[:12]}"
    create_namespace(cluster, name)
    namespace = Namespace(cluster, name)
    names = [f"settings-{number}" for number in range(_CONFIG_MAPS)]
    config = {"kubeConfigPath": str(cluster.kubeconfig)}
    providers = [{"name": "test", "type": "KUBERNETES", "config": config}]
    async with start_processes(tmp_path, platformProviders=providers) as m:
        await m.push("Begin", files(name, "web:1", *names))
        app = await m.register("shop", kind=KUBERNETES, provider="test")
        first = await m.wait_for_deployment(app)
        assert first.status == DeploymentStatus.DEPLOYMENT_SUCCESS, first.status_reason
        # One object without marks, and one to which an operator copied those of an object of the application.
        metadata = namespace.list("configmaps")["settings-0"]["metadata"]
        copied = {key: metadata[key] for key in ("labels", "annotations")}
        assert APPLICATION in copied["annotations"]
        namespace.create(config_map("other-a"))
        namespace.create({**config_map("other-b"), "metadata": {"name": "other-b", **copied}})
        others, uid = namespace.others(), namespace.list("deployments")["web"]["metadata"]["uid"]

        async def deploy(message: str, content: dict[str, str | None], *, fails: bool) -> None:
            commit = await m.push(message, content)
            moment = after_change(namespace, partial(has_ended, m, app, commit))
            kills = await kill_until_ended(
                m, app, commit, rng, KUBERNETES_KILLS, targets=AGENT_ONLY, moment=moment
            )
            assert kills
            check_ended(await m.wait_for_deployment(app, commit), fails=fails)

        # One object is new, and one is pruned.
        await deploy("Next", files(name, "web:2", *names[1:], "settings-new"), fails=False)
        good = ("web:2", dict.fromkeys([*names[1:], "settings-new"], "web:2"))
        assert namespace.content() == good
        await deploy("Worse", files(name, "web:nopull", *names[2:], "settings-bad"), fails=True)
        assert namespace.content() == good
        assert namespace.others() == others
        # The Deployment was changed once by each commit and by the rollback, and not created again.
        web = namespace.list("deployments")["web"]["metadata"]
        assert (web["uid"], web["annotations"]["deployment.kubernetes.io/revision"]) == (uid, "4")
        assert len(namespace.list("replicasets")) == 3
        commits = [found.trigger.commit.hash for found in await m.deployments(app)]
        assert len(commits) == len(set(commits)) == 3, "a commit was deployed twice"
        assert await m.stop_agent() == 0
