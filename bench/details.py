"""Details of a resource, from a user's call over HTTP to the agent's answer, and the first lines of a log.

Control plane, agent and benchmark are one process; the cluster is a real control plane with simulated pods.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from grpc import aio

from bench.figures import report
from pipecd.schema.model.kind_pb2 import KUBERNETES
from pipecd.schema.pipecd.v1.console_pb2 import FollowContainerLogRequest
from pipecd.schema.pipecd.v1.console_pb2_grpc import ConsoleServiceStub
from tests.cluster.build import build
from tests.cluster.control_plane import Cluster, ControlPlane
from tests.eventually import eventually
from tests.platforms.kubernetes.node import Node, running_node
from tests.platforms.kubernetes.stage_runner import config_map, deployment
from tests.world import World, world

#: Objects of the application besides the Deployment, and calls for each kind.
CONFIG_MAPS, CALLS = 50, 100
#: In seconds.
DETAILS_TARGET = 0.3
NAMESPACE = "bench"


async def run(folder: Path) -> None:
    with ControlPlane(build(), folder / "cluster") as cluster:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        await asyncio.to_thread(cluster.request, "/api/v1/namespaces", body)
        providers = [
            {"name": "test", "type": "KUBERNETES", "config": {"kubeConfigPath": str(cluster.kubeconfig)}}
        ]
        with running_node(cluster, "node-bench", folder) as node:
            async with world(folder / "world") as w, w.agent(platformProviders=providers):
                await _measure(w, cluster, node)


async def _measure(w: World, cluster: Cluster, node: Node) -> None:
    manifests = [deployment("web", "web:1", nodeName=node.name)]
    manifests += [config_map(f"settings-{number}", {"a": "b" * 500}) for number in range(CONFIG_MAPS)]
    config = {
        "apiVersion": "pipecd.dev/v1beta1",
        "kind": "KubernetesApp",
        "spec": {"name": "shop", "input": {"namespace": NAMESPACE}},
    }
    files = {
        "shop/app.pipecd.yaml": json.dumps(config),
        "shop/all.yaml": "---\n".join(json.dumps(manifest) + "\n" for manifest in manifests),
    }
    await w.push("Begin", files)
    app = await w.register("shop", kind=KUBERNETES, provider="test")
    await w.wait_for_deployment(app)

    async def find_ids() -> dict[str, str]:
        snapshot = (await w.console.call("SeeLiveState", application_id=app)).snapshot
        found = {resource.kind: resource.id for resource in snapshot.kubernetes.resources}
        return found if {"Pod", "Deployment", "ConfigMap"} <= found.keys() else {}

    ids = await eventually(find_ids)
    for kind in ("Deployment", "ConfigMap", "Pod"):
        times = []
        for _ in range(CALLS):
            started = time.monotonic()
            await w.console.call("SeeResource", application_id=app, resource_id=ids[kind])
            times.append(time.monotonic() - started)
        report(f"details of a {kind}: call → answer", times, "s", target=DETAILS_TARGET)
    body = {"spec": {"replicas": 2}}
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/web?fieldManager=kubectl-edit"
    await asyncio.to_thread(
        lambda: cluster.request(path, body, method="PATCH", content_type="application/merge-patch+json")
    )
    times = []
    for _ in range(CALLS):
        started = time.monotonic()
        await w.console.call("SeeResource", application_id=app, resource_id=ids["Deployment"])
        times.append(time.monotonic() - started)
    report("… that differs from Git (with a dry run)", times, "s", target=DETAILS_TARGET)
    node.text = "".join(f"2026-11-27T12:00:00.{number:03d}Z line {number}\n" for number in range(500))
    report("log of a container: call → 500 lines", await _read_logs(w, app, ids["Pod"]), "s")


async def _read_logs(w: World, app: str, pod: str) -> list[float]:
    metadata: Any = (("cookie", f"token={w.console.http.cookies['token']}"),)
    times = []
    async with aio.insecure_channel(w.plane.address) as channel:
        stub = ConsoleServiceStub(channel)
        for _ in range(20):
            started, count = time.monotonic(), 0
            request = FollowContainerLogRequest(application_id=app, resource_id=pod)
            stream: Any = stub.FollowContainerLog(request, metadata=metadata)
            while count < 500:
                count += len((await stream.read()).lines)
            times.append(time.monotonic() - started)
            stream.cancel()
    return times
