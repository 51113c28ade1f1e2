"""`pipecd quickstart` with Kubernetes applications, on a cluster as a user has one."""

import json
import os
import threading
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from pipecd.errors import ConfigError
from pipecd.quickstart import demo_cluster
from pipecd.quickstart.demo_cluster import DemoCluster
from pipecd.quickstart.simulated_cluster import gateway
from pipecd.quickstart.simulated_cluster.certificates import Authority
from tests.cluster.control_plane import Cluster
from tests.cluster.shared import shared_cluster
from tests.eventually import eventually
from tests.once import build_once
from tests.platforms.kubernetes.traffic_kinds import define_traffic_kinds
from tests.ports import free_ports
from tests.quickstart.test_quickstart import (
    Quickstart,
    applications_by_name,
    awaiting_approval,
    wait_for_deployment,
)
from tools.kubernetes_programs import extract


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return shared_cluster(tmp_path_factory)


@pytest.fixture
def quickstart(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Quickstart:
    monkeypatch.setenv("PATH", str(build_once(tmp_path_factory, "helm", extract)), prepend=os.pathsep)
    return Quickstart(tmp_path / "state", free_ports(11)[0])


async def test_the_demo_is_deployed_to_a_namespace_of_the_users_cluster(
    quickstart: Quickstart, cluster: Cluster
) -> None:
    """Traffic is split by the weights of an HTTPRoute, until a user approves the new version."""
    namespace = f"quickstart-{quickstart.port}"
    flags = (
        *(f"--kubeconfig={cluster.kubeconfig}", "--context=test"),
        *(f"--namespace={namespace}", f"--gateway=default/{namespace}"),
    )
    define_traffic_kinds(cluster, gateway.PATH)
    public = {"apiVersion": f"{gateway.GROUP}/v1", "kind": "Gateway", "metadata": {"name": namespace}}
    cluster.request(f"{gateway.PATH}/namespaces/default/gateways", public)
    controller = (cluster, threading.Event(), namespace)
    threading.Thread(target=gateway.accept_routes, args=controller, daemon=True).start()

    def deployment(name: str) -> Any:
        return cluster.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")

    def container(name: str) -> Any:
        return deployment(name)["spec"]["template"]["spec"]["containers"][0]

    def weights() -> list[tuple[str, int]]:
        route = cluster.get(f"{gateway.PATH}/namespaces/{namespace}/httproutes/reviews")
        assert route["spec"]["parentRefs"][0]["name"] == namespace
        return [(found["name"], found.get("weight", 1)) for found in route["spec"]["rules"][0]["backendRefs"]]

    async with quickstart.start(*flags) as console:
        working = ("storefront", "cart", "search", "payments")
        assert set(await applications_by_name(console)) == {*working, "checkout", "reviews"}
        for name in working:
            deployed = await wait_for_deployment(console, name, 1)
            assert deployed["status"] == "DEPLOYMENT_SUCCESS", deployed.get("statusReason")
            assert deployment(name)["status"]["availableReplicas"] >= 2
        failed = await wait_for_deployment(console, "checkout", 2)
        assert failed["status"] == "DEPLOYMENT_FAILURE"
        assert "Back-off pulling image nginx:nopull-1" in failed["statusReason"]
        assert container("checkout")["image"] == "nginx:1.27", "rolled back"

        async def is_edited() -> bool:
            return bool(container("search")["env"][0]["value"] == "debug")

        await eventually(is_edited)
        canary = await eventually(lambda: awaiting_approval(console, "reviews"), 300)
        assert canary and weights() == [("reviews", 80), ("reviews-canary", 20)]
        await console.call("ApproveStage", deploymentId=canary["id"], stageId="stage-2")
        promoted = await wait_for_deployment(console, "reviews", 2)
        assert promoted["status"] == "DEPLOYMENT_SUCCESS", promoted.get("statusReason")
        assert container("reviews")["image"] == "nginx:1.28" and weights() == [("reviews", 1)]
        guide = json.loads((quickstart.folder / "newcomer.json").read_text())
        assert guide["note"] == f"Everything is deployed to the namespace {namespace} of your cluster."
    controller[1].set()
    remove = f"--namespace={namespace} delete namespace {namespace}"
    assert remove in quickstart.output.read_text()
    other = quickstart.run(f"--kubeconfig={cluster.kubeconfig}", "--namespace=other")
    assert other.returncode == 1
    assert f"are deployed to the namespace {namespace} of {cluster.url}" in other.stderr
    assert remove in quickstart.run("--clean").stdout
    assert container("storefront"), "nothing is deleted from the user's cluster"


def test_a_cluster_that_cannot_be_used_is_an_error_before_anything_is_written(
    quickstart: Quickstart, cluster: Cluster
) -> None:
    result = quickstart.run(f"--kubeconfig={cluster.kubeconfig}", "--context=production")
    assert result.returncode == 1
    assert "the kubeconfig has no context 'production'; it has: test" in result.stderr
    assert "--context" in result.stderr and "Traceback" not in result.stderr
    result = quickstart.run(f"--kubeconfig={cluster.kubeconfig}", "--gateway=default/missing")
    assert "there is no Gateway missing in the namespace default" in result.stderr, result.stderr
    assert not quickstart.folder.exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--kubeconfig=/missing"], "'/missing' does not exist"),
        (["--context=test"], "--context needs --kubeconfig"),
        (["--namespace=shop"], "--namespace needs --kubeconfig or --simulated-cluster"),
        (["--gateway=infra/public"], "--gateway needs --kubeconfig"),
        (["--kubeconfig=/etc/hosts", "--gateway=public"], "--gateway: namespace and name"),
        (["--kubeconfig=/dev/null", "--simulated-cluster=/dev/null"], "exclude each other"),
        (["--kubeconfig=/etc/hosts", "--namespace=Shop_1"], "--namespace: up to 63 of a-z, 0-9 and -"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_options_that_do_not_fit_together(flags: list[str], message: str, quickstart: Quickstart) -> None:
    result = quickstart.run(*flags)
    assert result.returncode == 2
    assert message in " ".join(result.stderr.split())


async def test_an_unreachable_cluster_is_an_error_with_its_address(tmp_path: Path) -> None:
    config = Cluster(url="https://127.0.0.1:9", directory=tmp_path, tokens={}).config({"token": "x"})
    (tmp_path / "config").write_text(json.dumps(config))
    (tmp_path / "ca.crt").write_bytes(Authority.create().certificate_pem)
    with pytest.raises(ConfigError, match=r"the API server https://127\.0\.0\.1:9 cannot be reached"):
        await demo_cluster.check(DemoCluster(kubeconfig=tmp_path / "config"))


async def test_missing_permissions_are_an_error_before_the_first_deployment(
    cluster: Cluster, tmp_path: Path
) -> None:
    key, certificate = Authority.load(cluster.directory).issue("quickstart-user")
    (tmp_path / "key").write_bytes(key)
    (tmp_path / "certificate").write_bytes(certificate)
    user = {"client-key": str(tmp_path / "key"), "client-certificate": str(tmp_path / "certificate")}
    (tmp_path / "config").write_text(json.dumps(cluster.config(user)))
    mine = DemoCluster(kubeconfig=tmp_path / "config", namespace="other-team")
    with pytest.raises(ConfigError, match="you may not patch deployments in the namespace other-team"):
        await demo_cluster.check(mine)
    with pytest.raises(HTTPError):
        cluster.request("/api/v1/namespaces/other-team")
