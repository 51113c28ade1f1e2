"""From a push to running pods and back: real control plane, agent and Git server, and a real cluster."""

import json
from pathlib import Path
from typing import Any

import yaml

from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.kind_pb2 import KUBERNETES
from tests.cluster.control_plane import Cluster
from tests.platforms.kubernetes.stage_runner import config_map, deployment
from tests.world import world


def files(namespace: str, image: str, **spec: Any) -> dict[str, str | None]:
    config = {
        "apiVersion": "pipecd.dev/v1beta1",
        "kind": "KubernetesApp",
        "spec": {"name": "shop", "input": {"namespace": namespace}, **spec},
    }
    manifests = [deployment("web", image, replicas=2, deadline=2), config_map("settings", {"a": image})]
    return {
        "shop/app.pipecd.yaml": yaml.safe_dump(config),
        "shop/web.yaml": "---\n".join(json.dumps(manifest) + "\n" for manifest in manifests),
    }


async def test_a_rollout_that_never_becomes_ready_is_rolled_back(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    providers = [
        {"name": "test", "type": "KUBERNETES", "config": {"kubeConfigPath": str(cluster.kubeconfig)}}
    ]

    def live() -> tuple[str, str, int]:
        found = cluster.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/web")
        settings = cluster.get(f"/api/v1/namespaces/{namespace}/configmaps/settings")
        image = found["spec"]["template"]["spec"]["containers"][0]["image"]
        return image, settings["data"]["a"], found["status"]["availableReplicas"]

    async with world(tmp_path / "world") as w, w.agent(platformProviders=providers):
        await w.push("Begin", files(namespace, "web:1"))
        app = await w.register("shop", kind=KUBERNETES, provider="test")
        first = await w.wait_for_deployment(app)
        assert first.status == DeploymentStatus.DEPLOYMENT_SUCCESS, first.status_reason
        assert [(version.name, version.version) for version in first.versions] == [("web", "1")]
        assert live() == ("web:1", "web:1", 2)

        worse = await w.push("Worse", files(namespace, "web:nopull"))
        second = await w.wait_for_deployment(app, worse)
        assert second.status == DeploymentStatus.DEPLOYMENT_FAILURE
        assert "Back-off pulling image web:nopull" in second.status_reason
        assert live() == ("web:1", "web:1", 2)

        routes = [{"provider": {"name": "elsewhere"}}]
        routed = await w.push("Route", files(namespace, "web:2", resourceRoutes=routes))
        third = await w.wait_for_deployment(app, routed)
        assert third.status == DeploymentStatus.DEPLOYMENT_FAILURE
        assert "could not be planned: shop/app.pipecd.yaml:" in third.status_reason
        assert "this agent has no KUBERNETES platform provider elsewhere" in third.status_reason
