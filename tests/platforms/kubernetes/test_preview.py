"""Plan previews: what changes in the files, and what the cluster would refuse."""

from pathlib import Path
from typing import Any

import pytest

from pipecd.platforms.kubernetes import platform
from tests.cluster.control_plane import Cluster
from tests.platforms.kubernetes.stage_runner import Shop, config_map, deployment
from tests.platforms.make_preview import make_preview

SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}}


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path) -> Shop:
    return Shop(cluster, namespace, tmp_path)


async def preview(shop: Shop, head: Path, running: Path | None) -> Any:
    return await make_preview(platform, head, running, provider=shop.runner(head).provider)


async def test_added_changed_and_deleted_objects_are_shown(shop: Shop) -> None:
    running = shop.commit(deployment("web", "web:1"), config_map("gone"), config_map("same"))
    head = shop.commit(deployment("web", "web:2"), config_map("same"), config_map("new", {"a": "1"}))
    shop.create("deployments", deployment("web", "web:1", replicas=2))
    result = await preview(shop, head, running)
    assert result.summary == "1 added manifests, 1 changed manifests, 1 deleted manifests"
    assert result.error == ""
    for line in (
        "--- Last Deploy",
        "+++ Head Commit",
        f"# Deployment web in {shop.namespace}: changed",
        "-  replicas: 2",
        "+  replicas: 1",
        "-      - image: web:1",
        "+      - image: web:2",
        f"# ConfigMap new in {shop.namespace}: created",
        '+  a: "1"',
        "# ConfigMap gone: no longer in Git; it stays in the cluster, because prune is not set",
    ):
        assert line in result.details.replace("      image", "      - image"), result.details
    assert "same" not in result.details
    assert shop.get("configmaps", "new") is None, "a preview changes nothing"
    assert shop.get("deployments", "web")["spec"]["replicas"] == 2


async def test_what_would_be_deleted_or_created_again_is_shown(shop: Shop) -> None:
    job = {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a:1"}]}
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "a"},
        "spec": {"template": {"spec": job}},
    }
    shop.create("jobs", body)
    container = {"name": "a", "image": "a:2"}
    changed = {
        **body,
        "metadata": {"name": "a", "annotations": {"pipecd.dev/on-immutable": "recreate"}},
        "spec": {"template": {"spec": {**job, "containers": [container]}}},
    }
    volume = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {}}
    head = shop.commit(changed, quickSync={"prune": True})
    result = await preview(shop, head, shop.commit(body, config_map("gone"), volume))
    assert f"# Job a in {shop.namespace}: deleted and created again: " in result.details
    assert "# ConfigMap gone: deleted by pruning" in result.details
    assert "# PersistentVolumeClaim data: no longer in Git; it stays" in result.details
    assert result.error == ""


async def test_what_the_sync_itself_creates_first_is_no_refusal(shop: Shop) -> None:
    group, space = f"{shop.namespace}.example.com", f"new-{shop.namespace}"
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Trinket", "plural": "widgets"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    }
    widget = {"apiVersion": f"{group}/v1", "kind": "Trinket", "metadata": {"name": "a"}}
    files = (definition, widget, config_map("a"))
    options = {"namespace": space, "autoCreateNamespace": True}
    result = await preview(shop, shop.commit(*files, input=options), None)
    assert result.error == ""
    assert "# Trinket a: created; checked once its definition exists" in result.details
    assert "# ConfigMap a: created; checked once its namespace exists" in result.details
    result = await preview(shop, shop.commit(*files[1:], input={"namespace": space}), None)
    assert f'namespaces "{space}" not found' in result.error
    assert "has no kind Trinket" in result.error or "has no Trinket" in result.error


async def test_the_same_objects_are_no_change(shop: Shop) -> None:
    result = await preview(shop, shop.commit(config_map("a")), shop.commit(config_map("a")))
    assert (result.summary, result.no_change) == ("No changes were detected", True)


async def test_the_first_deployment_adds_everything(shop: Shop) -> None:
    result = await preview(shop, shop.commit(config_map("a"), config_map("b")), None)
    assert result.summary == "2 added manifests, 0 changed manifests, 0 deleted manifests"


async def test_what_the_cluster_would_refuse_is_shown(shop: Shop) -> None:
    shop.create("deployments", deployment("web"))
    changed = deployment("web")
    changed["spec"]["selector"]["matchLabels"]["tier"] = "front"
    changed["spec"]["template"]["metadata"]["labels"]["tier"] = "front"
    unknown = {"apiVersion": "none.example.com/v1", "kind": "Gizmo", "metadata": {"name": "a"}}
    head = shop.commit(changed, {**config_map("a"), "dat": {}}, unknown, config_map("fine"))
    result = await preview(shop, head, shop.commit(deployment("web")))
    assert result.summary == "3 added manifests, 1 changed manifests, 0 deleted manifests"
    assert result.error.startswith("the cluster would refuse the sync:") and result.error.count("\n- ") == 3
    for text in (
        'cannot be changed: Deployment.apps "web" is invalid: spec.selector',
        "there is no field dat",
        "the cluster has no kind Gizmo",
    ):
        assert text in result.details


async def test_values_of_secrets_are_not_shown(shop: Shop) -> None:
    head = shop.commit({**SECRET, "stringData": {"password": "hunter2"}})
    result = await preview(shop, head, shop.commit({**SECRET, "stringData": {"password": "hunter1"}}))
    assert result.summary == "0 added manifests, 1 changed manifests, 0 deleted manifests"
    assert "password: (hidden" in result.details and "hunter" not in result.details


async def test_files_are_compared_also_without_the_cluster(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    result = await make_preview(platform, shop.commit(config_map("a")), None)
    assert result.summary == "1 added manifests, 0 changed manifests, 0 deleted manifests"
    assert (
        "The cluster was not asked, because it cannot be reached or used: the agent does not run"
        in result.details
    )
