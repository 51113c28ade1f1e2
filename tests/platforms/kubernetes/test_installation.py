"""The charts of `deploy/kubernetes`, installed by Helm and by the agent in a namespace that is `restricted`.

Pods are simulated: what the API server admits and schedules is shown, not that the images run.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
import yaml

from tests.cluster.control_plane import Cluster
from tests.deploy.charts import CHARTS, VALUES, helm, merged
from tests.platforms.aws.stage_runner import assert_succeeded
from tests.platforms.kubernetes.conftest import Install
from tests.platforms.kubernetes.helm import helm_directory
from tests.platforms.kubernetes.stage_runner import Shop
from tests.platforms.kubernetes.test_permissions import provider_with

#: For `helm --wait`. Simulated pods are ready within a second.
WAIT = ("--wait", "--timeout=180s")
Helm = Callable[..., str]


@pytest.fixture
def restricted(cluster: Cluster, namespace: str) -> str:
    """A namespace that refuses pods which break the Pod Security level `restricted`."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.request(
        f"/api/v1/namespaces/{namespace}",
        {"metadata": {"labels": labels}},
        method="PATCH",
        content_type="application/merge-patch+json",
    )
    pod = {"metadata": {"name": "root"}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    with pytest.raises(HTTPError, match="403"):
        cluster.request(f"/api/v1/namespaces/{namespace}/pods", {"apiVersion": "v1", "kind": "Pod", **pod})
    return namespace


@pytest.fixture
def run(cluster: Cluster, restricted: str, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Runs Helm in the namespace, with a file of values."""
    program = helm_directory(tmp_path_factory) / "helm"

    def call(*arguments: str, values: Any = None) -> str:
        connection = (f"--kubeconfig={cluster.kubeconfig}", f"--namespace={restricted}")
        return helm(program, *arguments, *connection, values=values)

    return call


def former_version(chart: str, directory: Path) -> Path:
    """The chart with another version, as if it was released before."""
    copy = directory / chart
    shutil.copytree(CHARTS / chart, copy)
    definition = yaml.safe_load((copy / "Chart.yaml").read_text())
    (copy / "Chart.yaml").write_text(
        yaml.safe_dump({**definition, "version": "0.0.9", "appVersion": "0.0.9"})
    )
    return copy


def pods(cluster: Cluster, namespace: str) -> Sequence[Any]:
    items: Sequence[Any] = cluster.request(f"/api/v1/namespaces/{namespace}/pods")["items"]
    return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]


def ready_pod(cluster: Cluster, namespace: str) -> Any:
    [pod] = pods(cluster, namespace)
    conditions = {item["type"]: item["status"] for item in pod["status"]["conditions"]}
    assert conditions["Ready"] == "True"
    return pod


def test_agent_is_installed_and_upgraded(
    cluster: Cluster, restricted: str, run: Helm, tmp_path: Path
) -> None:
    values = merged(
        VALUES["piped"], {"tools": [{"name": "helm", "image": "helm:4", "path": "/usr/bin/helm"}]}
    )
    former = former_version("piped", tmp_path)
    output = run("upgrade", "--install", "piped", str(former), *WAIT, values=values)
    assert "kubectl --namespace" in output and "rollout status deployment/piped" in output
    first = ready_pod(cluster, restricted)
    assert first["spec"]["containers"][0]["image"].endswith(":v0.0.9")
    run("upgrade", "piped", str(CHARTS / "piped"), "--reset-then-reuse-values", *WAIT)
    second = ready_pod(cluster, restricted)
    assert not second["spec"]["containers"][0]["image"].endswith(":v0.0.9")
    assert second["spec"]["containers"][0]["args"] == first["spec"]["containers"][0]["args"]
    run("uninstall", "piped", *WAIT)
    roles = cluster.request("/apis/rbac.authorization.k8s.io/v1/clusterroles")["items"]
    assert not [role for role in roles if role["metadata"]["name"].startswith(restricted)]


def test_control_plane_is_installed_and_keeps_its_volume(
    cluster: Cluster, restricted: str, run: Helm, tmp_path: Path
) -> None:
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": restricted},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/data"},
            "storageClassName": restricted,
        },
    }
    cluster.request("/api/v1/persistentvolumes", volume)
    changes = {"persistence": {"storageClass": restricted}, "ingress": {"enabled": True}}
    values = merged(VALUES["pipecd"], changes)
    output = run(
        "upgrade", "--install", "pipecd", str(former_version("pipecd", tmp_path)), *WAIT, values=values
    )
    assert "https://pipecd.example.com" in output
    ready_pod(cluster, restricted)
    run("upgrade", "pipecd", str(CHARTS / "pipecd"), *WAIT, values=merged(values, {"maintenance": True}))
    assert ready_pod(cluster, restricted)["spec"]["containers"][0]["command"] == ["sleep", "infinity"]
    run("uninstall", "pipecd", *WAIT)
    run("upgrade", "--install", "pipecd", str(CHARTS / "pipecd"), *WAIT, values=values)
    ready_pod(cluster, restricted)
    claims = cluster.request(f"/api/v1/namespaces/{restricted}/persistentvolumeclaims")["items"]
    assert [claim["status"]["phase"] for claim in claims] == ["Bound"]


async def test_the_agent_deploys_its_own_chart(
    cluster: Cluster,
    restricted: str,
    install: Install,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the application file of the guide, but the chart of this directory, and the chart's own role."""
    monkeypatch.setenv("PATH", str(helm_directory(tmp_path_factory)), prepend=os.pathsep)
    guide = (CHARTS.parents[1] / "docs" / "guide" / "install-on-kubernetes.md").read_text()
    [text] = [block for block in guide.split("```yaml\n") if "kind: KubernetesApp" in block]
    spec = yaml.safe_load(text.split("```")[0])["spec"]
    del spec["input"]["helmChart"]["gitRemote"], spec["input"]["helmChart"]["ref"]
    shop = Shop(cluster, restricted, tmp_path)
    shop.provider = provider_with(cluster, install("cluster"), tmp_path / "kubeconfig")
    chart_input = merged(spec["input"], {"namespace": restricted, "helmChart": {"path": "chart"}})
    values = {
        "image": {"repository": "registry.example.com/piped"},
        "config": {"create": False, "name": "piped"},
        "rbac": {"create": False},
        "serviceAccount": {"create": False, "name": "piped"},
    }
    target = shop.commit(files={"values.yaml": json.dumps(values)}, input=chart_input)
    shutil.copytree(CHARTS / "piped", target / "chart")
    assert_succeeded(await shop.runner(target).run("K8S_SYNC"))
    assert shop.get("deployments", "piped")["status"]["readyReplicas"] == 1
