"""Annotations as PipeCD writes and expects them: each agent can take an application over from the other."""

from pathlib import Path
from typing import Any

import pytest

from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.mark import Marks, belongs_to, resource_key
from tests.cluster.control_plane import Cluster
from tests.platforms.aws.stage_runner import assert_succeeded
from tests.platforms.kubernetes.stage_runner import (
    Shop,
    apply_as_piped,
    config_map,
    deployment,
    piped_annotations,
)


def manifest(api_version: str, kind: str, name: str, **metadata: Any) -> Manifest:
    return Manifest({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **metadata}})


@pytest.mark.parametrize(
    ("written", "key"),
    [
        (manifest("apps/v1", "Deployment", "web", namespace="shop"), "apps/v1:Deployment:shop:web"),
        (manifest("v1", "Service", "web"), "v1:Service:default:web"),
        (manifest("v1", "Namespace", "shop"), "v1:Namespace:default:shop"),
        (
            manifest("rbac.authorization.k8s.io/v1", "ClusterRole", "a:b:c"),
            "rbac.authorization.k8s.io/v1:ClusterRole:default:a:b:c",
        ),
    ],
)
def test_the_key_is_that_of_piped(written: Manifest, key: str) -> None:
    assert resource_key(written) == key


def test_annotations_and_labels_are_those_of_piped() -> None:
    marks = Marks(piped="p", application="a", commit="c", variant=("pipecd.dev/variant", "primary"))
    written = marks.mark(manifest("apps/v1", "Deployment", "web", namespace="shop", annotations={"x": "y"}))
    assert written.annotations == {
        "x": "y",
        "pipecd.dev/managed-by": "piped",
        "pipecd.dev/piped": "p",
        "pipecd.dev/application": "a",
        "pipecd.dev/commit-hash": "c",
        "pipecd.dev/resource-key": "apps/v1:Deployment:shop:web",
        "pipecd.dev/original-api-version": "apps/v1",
        "pipecd.dev/variant": "primary",
    }
    assert written.labels == {"pipecd.dev/managed-by": "piped", "pipecd.dev/application": "a"}


@pytest.mark.parametrize(
    ("key", "belongs"),
    [
        # PipeCD, and its version 1, which leaves out what the manifest leaves out.
        ("apps/v1:Deployment:shop:web", True),
        ("apps:Deployment:shop:web", True),
        ("apps:Deployment::web", True),
        # A copy under another name, or in another namespace.
        ("apps/v1:Deployment:shop:api", False),
        ("apps/v1:Deployment:other:web", False),
        ("", False),
    ],
)
def test_an_object_belongs_to_the_application_that_its_key_says(key: str, belongs: bool) -> None:
    live = {
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "annotations": {"pipecd.dev/application": "a", "pipecd.dev/resource-key": key},
            "managedFields": [{"manager": "kubectl-client-side-apply", "operation": "Update"}],
        }
    }
    assert belongs_to(live, "a") is belongs
    assert not belongs_to(live, "b")


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path) -> Shop:
    return Shop(cluster, namespace, tmp_path)


async def test_what_this_agent_deployed_can_be_taken_over_by_piped(shop: Shop) -> None:
    """PipeCD's agent deletes an object only if its key is the expected one, and shows only its own."""
    web = deployment("web")
    runner = shop.runner(shop.commit(web, config_map("a"), input={"waitForReady": False}))
    assert_succeeded(await runner.run("K8S_SYNC"))
    for kind, written in (("deployments", web), ("configmaps", config_map("a"))):
        live = shop.get(kind, written["metadata"]["name"])["metadata"]
        expected = {**piped_annotations(shop, written), "pipecd.dev/commit-hash": "commit-0000001"}
        assert {key: live["annotations"].get(key) for key in expected} == expected
        assert "ownerReferences" not in live


async def test_what_piped_deployed_is_taken_over(shop: Shop) -> None:
    apply_as_piped(shop, config_map("a", {"x": "1", "removed": "1"}))
    runner = shop.runner(shop.commit(config_map("a", {"x": "2"})))
    assert_succeeded(await runner.run("K8S_SYNC"))
    live = shop.get("configmaps", "a")
    assert live["data"] == {"x": "2"}
    assert "kubectl.kubernetes.io/last-applied-configuration" not in live["metadata"]["annotations"]
    assert {entry["manager"] for entry in live["metadata"]["managedFields"]} == {"pipecd"}
