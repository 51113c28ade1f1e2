"""A namespace of the real cluster that all tests share, and a client of it."""

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from pipecd.platforms.kubernetes.cluster.api import ApiClient, open_client
from pipecd.platforms.kubernetes.cluster.discovery import Discovery
from pipecd.platforms.kubernetes.cluster.kubeconfig import load_access
from tests.cluster.control_plane import Cluster
from tests.cluster.shared import Outage, shared_cluster, usage


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
