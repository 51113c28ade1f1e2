"""Objects that are deleted and created again, because a field cannot be changed."""

from pathlib import Path
from typing import Any

import pytest

from pipecd.model.stage import Again, Failed
from tests.cluster.control_plane import Cluster
from tests.platforms.aws.stage_runner import assert_succeeded, failure_text
from tests.platforms.kubernetes.stage_runner import Shop, config_map, deployment

RECREATE = {"pipecd.dev/on-immutable": "recreate"}


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path) -> Shop:
    return Shop(cluster, namespace, tmp_path)


def with_selector(image: str, tier: str, **pod: Any) -> dict[str, Any]:
    manifest = deployment("web", image, deadline=2, **pod)
    manifest["metadata"]["annotations"] = RECREATE
    manifest["spec"]["selector"]["matchLabels"]["tier"] = tier
    manifest["spec"]["template"]["metadata"]["labels"]["tier"] = tier
    return manifest


def pods(shop: Shop) -> dict[str, list[str]]:
    """The uids of the pods that run, by their tier."""
    found: dict[str, list[str]] = {}
    for pod in shop.list("pods"):
        if not pod["metadata"].get("deletionTimestamp"):
            tier = pod["metadata"]["labels"].get("tier", "")
            found.setdefault(tier, []).append(pod["metadata"]["uid"])
    return found


async def test_the_pods_of_a_deployment_stay_until_the_new_ones_are_ready(shop: Shop) -> None:
    first = shop.commit(with_selector("web:1", "a"))
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    before, uid = pods(shop)["a"], shop.get("deployments", "web")["metadata"]["uid"]
    broken = shop.runner(first).next_deployment(shop.commit(with_selector("web:notready", "b")))
    outcome = await broken.run("K8S_SYNC", calls=2)
    assert isinstance(outcome, Again)
    assert shop.get("deployments", "web")["metadata"]["uid"] != uid
    assert pods(shop)["a"] == before, "the old pods were deleted before the new ones were ready"
    good = broken.next_deployment(shop.commit(with_selector("web:2", "b")))
    assert_succeeded(await good.run("K8S_SYNC"))
    shop.wait_until(lambda: list(pods(shop)) == ["b"])
    assert len(shop.list("replicasets")) == 2
    assert "whose Deployment was replaced" in "\n".join(good.log.lines)


async def test_a_rollback_adopts_the_pods_that_stayed(shop: Shop) -> None:
    """The running commit did not ask for it; but the failed one did, and it must be undone."""
    plain = with_selector("web:1", "a")
    del plain["metadata"]["annotations"]
    first = shop.commit(plain)
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    before = pods(shop)["a"]
    runner = shop.runner(first).next_deployment(shop.commit(with_selector("web:notready", "b")))
    assert isinstance(await runner.run("K8S_SYNC"), Failed)
    assert_succeeded(await runner.run("ROLLBACK"))
    shop.wait_until(lambda: pods(shop) == {"a": before})
    assert shop.get("deployments", "web")["spec"]["selector"]["matchLabels"]["tier"] == "a"


def stateful_set(size: str, tier: str = "a") -> dict[str, Any]:
    labels = {"app": "db", "tier": tier}
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "annotations": RECREATE},
        "spec": {
            "serviceName": "db",
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "db", "image": "db:1"}]},
            },
            "volumeClaimTemplates": [claim],
        },
    }


async def test_a_stateful_set_is_created_again_around_its_pods(shop: Shop) -> None:
    quick: dict[str, Any] = {"input": {"waitForReady": False}}
    first = shop.commit(stateful_set("1Gi"), **quick)
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    shop.wait_until(lambda: len(shop.list("pods")) == 1)
    pod = shop.list("pods")[0]["metadata"]["uid"]
    runner = shop.runner(first).next_deployment(shop.commit(stateful_set("2Gi"), **quick))
    assert_succeeded(await runner.run("K8S_SYNC"))
    live = shop.get("statefulsets", "db")["metadata"]["uid"]
    (kept,) = shop.list("pods")
    assert kept["metadata"]["uid"] == pod

    def adopted() -> bool:
        owners = shop.list("pods")[0]["metadata"].get("ownerReferences") or ()
        return [owner["uid"] for owner in owners] == [live]

    shop.wait_until(adopted)
    # With another selector it could not adopt them, and their names would be taken.
    third = runner.next_deployment(shop.commit(stateful_set("2Gi", tier="b"), **quick))
    assert_succeeded(await third.run("K8S_SYNC"))
    shop.wait_until(lambda: list(pods(shop)) == ["b"])


def role_binding(role: str) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "a", "annotations": RECREATE},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "a"}],
    }


def run_once(image: str) -> dict[str, Any]:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": image}]}}
    metadata = {"name": "a", "annotations": RECREATE}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template}}


def immutable_config(value: str) -> dict[str, Any]:
    return {**config_map("a", {"x": value}, on_immutable="recreate"), "immutable": True}


async def test_other_objects_are_deleted_and_created(shop: Shop) -> None:
    first = shop.commit(role_binding("x"), run_once("a:1"), immutable_config("1"))
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    runner = shop.runner(first).next_deployment(
        shop.commit(role_binding("y"), run_once("a:2"), immutable_config("2"))
    )
    assert_succeeded(await runner.run("K8S_SYNC"))
    bindings = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{shop.namespace}/rolebindings/a"
    assert shop.cluster.get(bindings)["roleRef"]["name"] == "y"
    assert shop.get("configmaps", "a")["data"] == {"x": "2"}
    assert shop.get("jobs", "a")["spec"]["template"]["spec"]["containers"][0]["image"] == "a:2"


def claim(size: str) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    metadata = {"name": "data", "annotations": RECREATE}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


async def test_a_volume_is_never_deleted_to_change_it(shop: Shop) -> None:
    first = shop.commit(claim("1Gi"))
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    changed = {**claim("1Gi"), "spec": {**claim("1Gi")["spec"], "accessModes": ["ReadWriteMany"]}}
    runner = shop.runner(first).next_deployment(shop.commit(changed))
    message = failure_text(await runner.run("K8S_SYNC"))
    assert "PersistentVolumeClaim data" in message and "cannot be changed: " in message
    assert "a PersistentVolumeClaim is never deleted to change a field" in message


async def test_an_object_whose_deletion_hangs_is_named_with_its_finalizer(shop: Shop) -> None:
    """The deployment ends, and the object is created as soon as it may be."""
    held = config_map("held", force_sync_by_replace="enabled")
    held["metadata"]["finalizers"] = ["example.com/hangs"]
    commit = shop.commit(held, config_map("other"))
    assert_succeeded(await shop.runner(commit).run("K8S_SYNC"))
    runner = shop.runner(commit).next_deployment(commit)
    message = failure_text(await runner.run("K8S_SYNC"))
    assert f"ConfigMap held in {shop.namespace} is still being deleted" in message
    assert "it waits for its finalizers example.com/hangs; end what it waits for" in message
    assert 300 <= runner.waited <= 320
    shop.patch("configmaps", "held", {"metadata": {"finalizers": None}})
    runner = runner.next_deployment(commit)
    assert_succeeded(await runner.run("K8S_SYNC"))
    assert not shop.get("configmaps", "held")["metadata"].get("deletionTimestamp")
