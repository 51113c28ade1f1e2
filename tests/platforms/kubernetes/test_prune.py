"""Pruning on a real cluster: what is deleted, and above all what is not."""

import random
from pathlib import Path
from typing import Any

import pytest

from pipecd.model.stage import Again
from pipecd.platforms.kubernetes.stages import job
from tests.cluster.control_plane import Cluster
from tests.platforms.aws.stage_runner import assert_succeeded, failure_text
from tests.platforms.kubernetes.stage_runner import Shop, config_map, deployment

PRUNE = {"quickSync": {"prune": True}}


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(job, "CALL_SECONDS", 1.0)
    return Shop(cluster, namespace, tmp_path)


def names(shop: Shop) -> set[str]:
    """The ConfigMaps of the namespace."""
    items = shop.cluster.get(shop.path("configmaps"))["items"]
    return {item["metadata"]["name"] for item in items}


async def test_objects_that_are_no_longer_in_git_are_deleted(shop: Shop) -> None:
    first = shop.commit(config_map("a"), config_map("b"), deployment("web"))
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    without_prune = shop.runner(first).next_deployment(shop.commit(config_map("a")))
    assert_succeeded(await without_prune.run("K8S_SYNC"))
    assert names(shop) == {"a", "b"}
    runner = without_prune.next_deployment(shop.commit(config_map("a"), **PRUNE))
    assert_succeeded(await runner.run("K8S_SYNC"))
    assert names(shop) == {"a"}
    assert shop.get("deployments", "web") is None
    log = "\n".join(runner.log.lines)
    assert f"ConfigMap b in {shop.namespace} is not in Git, and will be deleted" in log
    assert f"Deleted ConfigMap b in {shop.namespace}" in log


@pytest.mark.parametrize(
    "annotations",
    [
        {"pipecd.dev/prune": "disabled"},
        {"argocd.argoproj.io/sync-options": "Validate=false, Prune=false"},
        {"kustomize.toolkit.fluxcd.io/prune": "disabled"},
        {"helm.sh/resource-policy": "keep"},
    ],
)
async def test_an_object_can_be_kept(shop: Shop, annotations: dict[str, str]) -> None:
    kept = config_map("kept")
    kept["metadata"]["annotations"] = annotations
    first = shop.commit(kept, config_map("gone"))
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    runner = shop.runner(first).next_deployment(shop.commit(config_map("a"), **PRUNE))
    assert_succeeded(await runner.run("K8S_SYNC"))
    assert names(shop) == {"a", "kept"}


async def test_kinds_that_contain_data_are_deleted_only_if_they_say_so(shop: Shop) -> None:
    def namespace(name: str, **annotations: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": f"{shop.namespace}-{name}", "annotations": annotations},
        }

    declared = [namespace("kept"), namespace("gone", **{"pipecd.dev/prune": "enabled"})]
    first = shop.commit(*declared)
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    runner = shop.runner(first).next_deployment(shop.commit(config_map("a"), **PRUNE))
    assert_succeeded(await runner.run("K8S_SYNC"))
    kept, gone = (
        shop.cluster.get(f"/api/v1/namespaces/{shop.namespace}-{name}") for name in ("kept", "gone")
    )
    assert kept["status"]["phase"] == "Active"
    assert gone is None or gone["status"]["phase"] == "Terminating"


async def test_objects_of_others_are_never_deleted(shop: Shop) -> None:
    """Copies of our object with all its marks, made by an operator, and an object of another application."""
    first = shop.commit(config_map("a"))
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    marks = shop.get("configmaps", "a")["metadata"]
    copied = {"labels": marks["labels"], "annotations": marks["annotations"]}
    # An owner that stays, because Kubernetes deletes what a deleted object owns.
    root = shop.create("configmaps", config_map("root"))["metadata"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "root", "uid": root["uid"]}
    for name, metadata in {
        "copy": copied,
        "owned": {
            **copied,
            "ownerReferences": [owner],
            "annotations": {
                **marks["annotations"],
                "pipecd.dev/resource-key": f"v1:ConfigMap:{shop.namespace}:owned",
            },
        },
        "labelled": {"labels": marks["labels"]},
        "foreign": {
            "labels": marks["labels"],
            "annotations": {
                **marks["annotations"],
                "pipecd.dev/resource-key": f"v1:ConfigMap:{shop.namespace}:foreign",
            },
        },
    }.items():
        shop.create(
            "configmaps", {**config_map(name), "metadata": {"name": name, **metadata}}, manager="operator"
        )
    runner = shop.runner(first).next_deployment(shop.commit(config_map("b"), **PRUNE))
    assert_succeeded(await runner.run("K8S_SYNC"))
    assert names(shop) == {"b", "copy", "owned", "labelled", "foreign", "root"}


async def test_an_object_that_is_replaced_meanwhile_is_kept(shop: Shop) -> None:
    """The list is made before anything is applied; another object of that name is not on it."""
    first = shop.commit(config_map("a"), config_map("b"))
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    runner = shop.runner(first).next_deployment(shop.commit(config_map("a"), **PRUNE))
    outcome = await runner.run("K8S_SYNC", calls=2)
    assert isinstance(outcome, Again) and outcome.saved == {"pipecd/prune-listed": "1"}
    shop.cluster.request(shop.path("configmaps", "b"), method="DELETE")
    shop.create("configmaps", config_map("b"))
    assert_succeeded(await runner.run("K8S_SYNC"))
    assert names(shop) == {"a", "b"}


async def test_deleting_most_of_an_application_needs_permission(shop: Shop) -> None:
    first = shop.commit(*(config_map(f"m{number}") for number in range(8)))
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    runner = shop.runner(first).next_deployment(shop.commit(config_map("m0"), config_map("m1"), **PRUNE))
    message = failure_text(await runner.run("K8S_SYNC"))
    assert "6 of 8 objects would be deleted, more than 50 %: ConfigMap m" in message
    assert len(names(shop)) == 8
    allowed = {"quickSync": {"prune": True, "pruneLimit": "80%"}}
    runner = runner.next_deployment(shop.commit(config_map("m0"), config_map("m1"), **allowed))
    assert_succeeded(await runner.run("K8S_SYNC"))
    assert names(shop) == {"m0", "m1"}


async def test_an_empty_application_deletes_nothing(shop: Shop) -> None:
    first = shop.commit(config_map("a"))
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    runner = shop.runner(first).next_deployment(shop.commit(**PRUNE))
    message = failure_text(await runner.run("K8S_SYNC"))
    assert "the application declares no objects, so all 1 would be deleted" in message
    assert names(shop) == {"a"}


@pytest.mark.parametrize("seed", range(4))
async def test_random_changes_leave_the_cluster_as_a_clean_apply_would(shop: Shop, seed: int) -> None:
    """From A to B and back to A, with a foreign object among them."""
    rng = random.Random(seed)

    def some() -> dict[str, dict[str, str]]:
        chosen = rng.sample("abcdefgh", rng.randint(1, 6))
        return {name: {key: str(rng.randint(0, 3)) for key in rng.sample("xyz", 2)} for name in chosen}

    shop.create("configmaps", config_map("foreign", {"x": "1"}))
    a, b = some(), some()
    runner = None
    settings = {"quickSync": {"prune": True, "pruneLimit": 100}}
    for wanted in (a, b, a):
        commit = shop.commit(*(config_map(name, data) for name, data in wanted.items()), **settings)
        runner = runner.next_deployment(commit) if runner else shop.runner(commit)
        assert_succeeded(await runner.run("K8S_SYNC"))
        live = {name: shop.get("configmaps", name).get("data") for name in names(shop)}
        assert live == {**wanted, "foreign": {"x": "1"}}
