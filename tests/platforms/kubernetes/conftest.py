"""A namespace of the real cluster that all tests share, and a client of it."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from pipecd.platforms.kubernetes.cluster.api import ApiClient, open_client
from pipecd.platforms.kubernetes.cluster.discovery import Discovery
from pipecd.platforms.kubernetes.cluster.kubeconfig import load_access
from tests.cluster.control_plane import Cluster
from tests.cluster.shared import Outage, shared_cluster, usage
from tests.deploy.charts import render
from tests.platforms.kubernetes.access import wait_until_effective
from tests.platforms.kubernetes.helm import helm_directory

PATHS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}
Install = Callable[..., str]


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Shared by all tests of a run: use names that no other test uses for what has no namespace."""
    return shared_cluster(tmp_path_factory)


@pytest.fixture
def other_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A second cluster, shared likewise. It is not stopped while a test uses it."""
    found = shared_cluster(tmp_path_factory, "other-cluster")
    with usage(found, exclusive=False):
        yield found


@pytest.fixture
def stoppable_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The second cluster, which no other test uses meanwhile. It runs again afterwards."""
    found = shared_cluster(tmp_path_factory, "other-cluster")
    with usage(found, exclusive=True):
        yield found
        Outage(found).end()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of its own for each test. It stays: deleting it takes longer than most tests."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    create_namespace(cluster, name)
    yield name


def create_namespace(cluster: Cluster, name: str) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    cluster.request("/api/v1/namespaces", body)


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[ApiClient]:
    access = load_access(path=str(cluster.kubeconfig))
    async with open_client(access, per_second=1000, burst=1000) as opened:
        yield opened


@pytest.fixture
def discovery(client: ApiClient) -> Discovery:
    return Discovery(client)


@pytest.fixture
def install(cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Install:
    """Creates the service account and the role of the agent's chart. Returns the account's token."""
    program = helm_directory(tmp_path_factory) / "helm"

    def create(scope: str, change: Callable[[Any], None] = lambda _: None) -> str:
        objects = render(program, "piped", {"rbac": {"scope": scope}}, namespace=namespace)
        for body in objects:
            path = PATHS.get(body["kind"])
            if path:
                change(body)
                cluster.request(path.format(namespace), body)
        [role] = [body for body in objects if "rules" in body]
        wait_until_effective(cluster, role, f"system:serviceaccount:{namespace}:piped", namespace)
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        answer = cluster.request(f"/api/v1/namespaces/{namespace}/serviceaccounts/piped/token", request)
        return str(answer["status"]["token"])

    return create
