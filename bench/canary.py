"""Canary begun → traffic shifted: the stages of a pipeline on a real control plane with simulated pods.

Includes the waits that the stages ask for between their calls, and not what the agent needs to begin them.
"""

import json
import time
from pathlib import Path

from bench.figures import report
from pipecd.clock import SYSTEM_CLOCK
from pipecd.model.stage import Done
from pipecd.platforms.connections import connection_pool
from tests.cluster.build import build
from tests.cluster.control_plane import ControlPlane
from tests.platforms.kubernetes.stage_runner import KubernetesRunner, Shop
from tests.platforms.kubernetes.test_progressive import pipeline, primary_service, stage, web

RUNS = 20
#: Target from the begin of the canary to all traffic for it, in seconds.
TARGET = 2.0
SPEC = pipeline(stage("K8S_CANARY_ROLLOUT", replicas="50%"), stage("K8S_TRAFFIC_ROUTING", all="canary"))


async def run(folder: Path) -> None:
    times: list[float] = []
    with ControlPlane(build(), folder / "cluster") as cluster:
        for number in range(RUNS):
            name = f"canary-{number}"
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            cluster.request("/api/v1/namespaces", body)
            (folder / name).mkdir()
            shop = Shop(cluster, name, folder / name)
            runner = shop.runner(shop.commit(web("web:1", replicas=4), primary_service(), **SPEC))
            async with connection_pool(SYSTEM_CLOCK):
                _check(await runner.run("K8S_SYNC"))
                target = shop.commit(web("web:2", replicas=4), primary_service(), **SPEC)
                following = runner.next_deployment(target)
                assert isinstance(following, KubernetesRunner)
                waited, started = following.waited, time.monotonic()
                for outcome in await following.run_pipeline():
                    _check(outcome)
                times.append(time.monotonic() - started + following.waited - waited)
            selector = shop.get("services", "web")["spec"]["selector"]
            if selector["pipecd.dev/variant"] != "canary":
                raise RuntimeError(f"the traffic was not shifted: {json.dumps(selector)}")
    report("Kubernetes: canary begun → traffic shifted", times, "s", target=TARGET)


def _check(outcome: object) -> None:
    if not isinstance(outcome, Done):
        raise RuntimeError(f"a stage did not succeed: {outcome}")
