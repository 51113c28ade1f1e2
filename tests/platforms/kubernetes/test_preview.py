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
    result = await preview(shop, head, running)
    assert result.summary == "1 added manifests, 1 changed manifests, 1 deleted manifests"
    for line in (
        "--- Last Deploy",
        "+++ Head Commit",
        "# Deployment web",
        "-      - image: web:1",
        "+      - image: web:2",
    ):
        assert line in result.details
    assert shop.get("deployments", "web") is None, "a preview changes nothing"


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
    assert result.summary.endswith("; the cluster would refuse 3")
    for text in (
        'cannot be changed: Deployment.apps "web" is invalid: spec.selector',
        ".dat: field not declared in schema",
        "the cluster has no kind Gizmo",
    ):
        assert text in result.details


async def test_values_of_secrets_are_not_shown(shop: Shop) -> None:
    head = shop.commit({**SECRET, "stringData": {"password": "hunter2"}})
    result = await preview(shop, head, shop.commit({**SECRET, "stringData": {"password": "hunter1"}}))
    assert result.summary == "0 added manifests, 1 changed manifests, 0 deleted manifests"
    assert "password: (hidden " in result.details and "hunter" not in result.details


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
