"""K8S_SYNC and ROLLBACK on a real cluster."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipecd.model.stage import Failed
from tests.cluster.control_plane import Cluster
from tests.platforms.aws.stage_runner import assert_succeeded, failure_text
from tests.platforms.kubernetes.stage_runner import Shop, config_map, deployment


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path) -> Shop:
    return Shop(cluster, namespace, tmp_path)


async def test_a_sync_applies_objects_and_waits_until_they_work(shop: Shop) -> None:
    target = shop.commit(deployment("web", replicas=2), config_map("settings", {"a": "1"}))
    runner = shop.runner(target)
    assert_succeeded(await runner.run("K8S_SYNC"))
    live = shop.get("deployments", "web")
    assert live["status"]["availableReplicas"] == 2
    assert live["metadata"]["annotations"] == {
        "deployment.kubernetes.io/revision": "1",
        "pipecd.dev/managed-by": "piped",
        "pipecd.dev/piped": "piped-1",
        "pipecd.dev/application": shop.application,
        "pipecd.dev/commit-hash": "commit-0000001",
        "pipecd.dev/resource-key": f"apps/v1:Deployment:{shop.namespace}:web",
        "pipecd.dev/original-api-version": "apps/v1",
        "pipecd.dev/variant": "primary",
    }
    assert shop.get("configmaps", "settings")["data"] == {"a": "1"}


async def test_fields_that_are_removed_from_git_are_removed(shop: Shop) -> None:
    first = shop.commit(config_map("settings", {"a": "1", "b": "1"}))
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    second = shop.commit(config_map("settings", {"a": "2"}))
    assert_succeeded(await shop.runner(second, first).run("K8S_SYNC"))
    assert shop.get("configmaps", "settings")["data"] == {"a": "2"}


async def test_what_kubectl_applied_is_taken_over(shop: Shop) -> None:
    """Without that, fields that kubectl applied and that are removed from Git would stay."""
    shop.create(
        "configmaps", config_map("settings", {"a": "1", "b": "1"}), manager="kubectl-client-side-apply"
    )
    shop.patch("configmaps", "settings", {"data": {"edited": "1"}}, manager="kubectl-edit")
    runner = shop.runner(shop.commit(config_map("settings", {"a": "2"})))
    assert_succeeded(await runner.run("K8S_SYNC"))
    assert shop.get("configmaps", "settings")["data"] == {"a": "2", "edited": "1"}
    assert "ConfigMap settings in" in "\n".join(runner.log.lines)
    assert "taking over what kubectl-client-side-apply applied" in "\n".join(runner.log.lines)


async def test_an_object_of_another_application_is_refused_unless_it_is_adopted(shop: Shop) -> None:
    other = config_map("settings", {"a": "1"}, application="other")
    shop.create("configmaps", other)
    runner = shop.runner(shop.commit(config_map("settings", {"a": "2"})))
    message = failure_text(await runner.run("K8S_SYNC"))
    assert "exists, and belongs to the application other; remove it there, or, also if that" in message
    assert "000.yaml:1" in message
    adopted = config_map("settings", {"a": "2"}, adopt="true")
    assert_succeeded(await shop.runner(shop.commit(adopted)).run("K8S_SYNC"))
    live = shop.get("configmaps", "settings")
    assert live["data"] == {"a": "2"}
    assert live["metadata"]["annotations"]["pipecd.dev/application"] == shop.application


async def test_a_definition_and_its_objects_are_applied_in_one_commit(shop: Shop) -> None:
    group = f"{shop.namespace}.example.com"
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"gadgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Gadget", "plural": "gadgets", "singular": "gadget"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                    },
                }
            ],
        },
    }
    gadget = {"apiVersion": f"{group}/v1", "kind": "Gadget", "metadata": {"name": "a"}, "spec": {"x": 1}}
    assert_succeeded(await shop.runner(shop.commit(gadget, definition)).run("K8S_SYNC"))
    assert shop.cluster.get(f"/apis/{group}/v1/namespaces/{shop.namespace}/gadgets/a")["spec"] == {"x": 1}


async def test_an_unknown_kind_fails_after_a_while(shop: Shop) -> None:
    gadget = {"apiVersion": "none.example.com/v1", "kind": "Gizmo", "metadata": {"name": "a"}}
    runner = shop.runner(shop.commit(gadget, config_map("settings")))
    message = failure_text(await runner.run("K8S_SYNC"))
    assert "the cluster has no kind Gizmo in none.example.com/v1; install its CustomResource" in message
    assert 120 <= runner.waited <= 140


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        ("web:nopull", "ImagePullBackOff: Back-off pulling image web:nopull"),
        (
            "web:crash",
            "restarting failed container; it last exited with code 1",
        ),
    ],
)
async def test_a_rollout_that_fails_says_what_its_pods_say(shop: Shop, image: str, problem: str) -> None:
    runner = shop.runner(shop.commit(deployment("web", image, deadline=3)))
    message = failure_text(await runner.run("K8S_SYNC"))
    assert f"Deployment web in {shop.namespace} does not work: " in message
    assert "has timed out progressing" in message
    assert problem in message


async def test_pods_with_a_problem_fail_the_stage_before_the_deadline(shop: Shop) -> None:
    shop.settings = replace(shop.settings, problem_timeout=-1.0)
    runner = shop.runner(shop.commit(deployment("web", "web:nopull")))
    message = failure_text(await runner.run("K8S_SYNC"))
    assert "0 of 1 updated replicas are available; pod web-" in message


async def test_without_waiting_a_stage_ends_when_the_api_accepts_the_objects(shop: Shop) -> None:
    target = shop.commit(deployment("web", "web:nopull"), input={"waitForReady": False})
    assert_succeeded(await shop.runner(target).run("K8S_SYNC"))


async def test_waves_are_applied_one_after_another(shop: Shop) -> None:
    """The job of the first wave must complete before the second wave is applied."""
    failing = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate", "annotations": {"pipecd.dev/order": "-1"}},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "migrate:fail"}]}
            },
        },
    }
    runner = shop.runner(shop.commit(config_map("settings"), failing))
    message = failure_text(await runner.run("K8S_SYNC"))
    assert f"Job migrate in {shop.namespace} does not work: BackoffLimitExceeded" in message
    assert shop.get("configmaps", "settings") is None


async def test_a_namespace_is_created_and_never_deleted(shop: Shop) -> None:
    shop.namespace = f"{shop.namespace}-own"
    spec = {"namespace": shop.namespace, "autoCreateNamespace": True}
    assert_succeeded(await shop.runner(shop.commit(config_map("a"), input=spec)).run("K8S_SYNC"))
    assert shop.get("configmaps", "a") is not None
    created = shop.cluster.get(f"/api/v1/namespaces/{shop.namespace}")
    assert created["metadata"].get("annotations") is None


async def test_an_object_in_another_namespace_than_that_of_the_input_is_refused(shop: Shop) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "other"}}
    text = failure_text(await shop.runner(shop.commit(config_map("z"), manifest)).run("K8S_SYNC"))
    assert "ConfigMap a in other names another namespace than input.namespace" in text
    assert "001.yaml:1" in text


async def test_an_immutable_field_names_the_ways_out(shop: Shop) -> None:
    first = shop.commit(deployment("web"))
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    changed = deployment("web")
    changed["spec"]["selector"]["matchLabels"]["tier"] = "front"
    changed["spec"]["template"]["metadata"]["labels"]["tier"] = "front"
    message = failure_text(await shop.runner(shop.commit(changed), first).run("K8S_SYNC"))
    assert "cannot be changed" in message and "field is immutable" in message
    assert "annotate it with pipecd.dev/on-immutable: recreate" in message
    uid = shop.get("deployments", "web")["metadata"]["uid"]
    changed["metadata"]["annotations"] = {"pipecd.dev/on-immutable": "recreate"}
    assert_succeeded(await shop.runner(shop.commit(changed), first).run("K8S_SYNC"))
    assert shop.get("deployments", "web")["metadata"]["uid"] != uid


async def test_replace_annotations_of_pipecd(shop: Shop) -> None:
    replaced = config_map("replaced", {"a": "1"}, sync_by_replace="enabled")
    forced = config_map("forced", {"a": "1"}, force_sync_by_replace="enabled")
    first = shop.commit(replaced, forced)
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    uids = {name: shop.get("configmaps", name)["metadata"]["uid"] for name in ("replaced", "forced")}
    shop.patch("configmaps", "replaced", {"data": {"foreign": "1"}})
    second = shop.runner(first).next_deployment(shop.commit(replaced, forced))
    assert_succeeded(await second.run("K8S_SYNC"))
    assert shop.get("configmaps", "replaced")["data"] == {"a": "1"}
    assert shop.get("configmaps", "replaced")["metadata"]["uid"] == uids["replaced"]
    assert shop.get("configmaps", "forced")["metadata"]["uid"] != uids["forced"]


async def test_a_scaled_workload_keeps_its_replicas(shop: Shop) -> None:
    first = shop.commit(deployment("web", replicas=2))
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    path = f"/apis/apps/v1/namespaces/{shop.namespace}/deployments/web/scale?fieldManager=keda"
    shop.cluster.request(
        path, {"spec": {"replicas": 5}}, method="PATCH", content_type="application/merge-patch+json"
    )
    runner = shop.runner(shop.commit(deployment("web", "web:2", replicas=2)), first)
    assert_succeeded(await runner.run("K8S_SYNC"))
    assert shop.get("deployments", "web")["spec"]["replicas"] == 5
    assert "keda controls the replicas; keeping them at 5" in "\n".join(runner.log.lines)


async def test_a_changed_config_restarts_its_workload(shop: Shop) -> None:
    pod: dict[str, Any] = {"volumes": [{"name": "a", "configMap": {"name": "settings"}}]}
    first = shop.commit(deployment("web", **pod), config_map("settings", {"two": "2"}))
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    before = shop.get("deployments", "web")["spec"]["template"]["metadata"]["annotations"]
    second = shop.commit(deployment("web", **pod), config_map("settings", {"two": "3"}))
    assert_succeeded(await shop.runner(second, first).run("K8S_SYNC"))
    after = shop.get("deployments", "web")["spec"]["template"]["metadata"]["annotations"]
    assert before.keys() == after.keys() == {"pipecd.dev/config-hash"} and before != after


async def test_a_rollback_restores_the_running_commit(shop: Shop) -> None:
    first = shop.commit(deployment("web", "web:1"), config_map("settings", {"a": "1"}))
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    runner = shop.runner(
        shop.commit(deployment("web", "web:nopull", deadline=2), config_map("settings")), first
    )
    assert isinstance(await runner.run("K8S_SYNC"), Failed)
    assert_succeeded(await runner.run("ROLLBACK"))
    live = shop.get("deployments", "web")
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "web:1"
    assert live["metadata"]["annotations"]["pipecd.dev/commit-hash"] == "commit-0000001"
    assert shop.get("configmaps", "settings")["data"] == {"a": "1"}
