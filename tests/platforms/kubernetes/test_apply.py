"""How one object is applied, on a real cluster: whose fields are taken over, and what replaces what."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.control_plane import Cluster
from tests.platforms.aws.stage_runner import assert_succeeded, failure_text
from tests.platforms.kubernetes.stage_runner import KUBECTL, Shop, apply_as_piped, config_map, deployment
from tests.platforms.kubernetes.widgets import define_widgets

#: Stages that do not wait for pods are quick.
QUICK: dict[str, Any] = {"input": {"waitForReady": False}}


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path) -> Shop:
    return Shop(cluster, namespace, tmp_path)


async def sync(shop: Shop, *manifests: Any, **spec: Any) -> str:
    """The stage's log."""
    runner = shop.runner(shop.commit(*manifests, **{**QUICK, **spec}))
    assert_succeeded(await runner.run("K8S_SYNC"))
    return "\n".join(runner.log.lines)


def service(name: str, port: int, **fields: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": port}]
    spec = {"selector": {"app": name}, "ports": ports, **fields}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def ports(shop: Shop, name: str) -> list[int]:
    return [port["port"] for port in shop.get("services", name)["spec"]["ports"]]


@pytest.mark.parametrize("manager", [KUBECTL, "another-tool"])
async def test_a_port_is_changed_that_another_manager_has_too(shop: Shop, manager: str) -> None:
    """Server-side apply would keep the other's port beside Git's, with the same name."""
    await sync(shop, service("web", 80, type="NodePort"))
    before = shop.get("services", "web")
    # The other manager applied the same, and something of its own.
    same = {**service("web", 80), "metadata": {"name": "web", "labels": {"theirs": "x"}}}
    path = f"{shop.path('services', 'web')}?fieldManager={manager}&force=true"
    shop.cluster.request(path, same, method="PATCH", content_type="application/apply-patch+yaml")
    if manager == KUBECTL:
        as_update(shop, "services", "web", KUBECTL)
    log = await sync(shop, service("web", 81, type="NodePort"))
    after = shop.get("services", "web")
    assert ports(shop, "web") == [81]
    for field in ("clusterIP", "clusterIPs"):
        assert after["spec"][field] == before["spec"][field]
    assert after["spec"]["ports"][0]["nodePort"] == before["spec"]["ports"][0]["nodePort"]
    if manager == KUBECTL:
        assert f"taking over what {KUBECTL} applied" in log
    else:
        assert "its ports were taken over from other managers" in log
        assert after["metadata"]["labels"]["theirs"] == "x"
    log = await sync(shop, service("web", 82, type="NodePort"))
    assert ports(shop, "web") == [82] and "ports" not in log


def as_update(shop: Shop, kind: str, name: str, manager: str) -> None:
    """As if the manager had not used server-side apply."""
    live = shop.get(kind, name)
    entries = live["metadata"]["managedFields"]
    changed = [
        {**entry, "operation": "Update"} if entry["manager"] == manager else entry for entry in entries
    ]
    operations = [{"op": "replace", "path": "/metadata/managedFields", "value": changed}]
    content_type = "application/json-patch+json"
    shop.cluster.request(shop.path(kind, name), operations, method="PATCH", content_type=content_type)


async def test_two_ports_of_one_name_in_git_are_refused(shop: Shop) -> None:
    await sync(shop, service("web", 80))
    twice = service("web", 80)
    twice["spec"]["ports"].append({"name": "http", "port": 81})
    runner = shop.runner(shop.commit(twice, **QUICK))
    message = failure_text(await runner.run("K8S_SYNC"))
    assert "000.yaml:1: spec.ports[1].name: Service web" in message
    assert 'Duplicate value: "http"; correct the field' in message


async def test_a_list_with_duplicates_replaces_the_object(shop: Shop) -> None:
    """kubectl and the API take two ports with one number; server-side apply refuses them."""
    twice = deployment("web")
    container = twice["spec"]["template"]["spec"]["containers"][0]
    container["ports"] = [{"name": "a", "containerPort": 80}, {"name": "b", "containerPort": 80}]
    log = await sync(shop, twice)
    assert "replacing it, because it cannot be applied: " in log
    shop.patch("deployments", "web", {"metadata": {"annotations": {"theirs": "x"}}})
    container["image"] = "web:2"
    await sync(shop, twice)
    live = shop.get("deployments", "web")
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "web:2"
    assert live["metadata"]["annotations"]["theirs"] == "x"
    # What was written by replacing is removed again when it can be applied.
    del container["ports"]
    await sync(shop, twice)
    live = shop.get("deployments", "web")
    assert "ports" not in live["spec"]["template"]["spec"]["containers"][0]


async def test_of_two_variables_of_one_name_the_last_is_used(shop: Shop) -> None:
    twice = deployment("web")
    container = twice["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    log = await sync(shop, twice)
    assert "the variable A is set twice; the last value is used" in log
    live = shop.get("deployments", "web")
    assert live["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "A", "value": "2"}]


async def test_values_of_string_data_are_removed_with_their_key(shop: Shop) -> None:
    secret: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}}
    await sync(shop, {**secret, "stringData": {"a": "1", "b": "2"}})
    await sync(shop, {**secret, "stringData": {"a": "3"}})
    assert shop.get("secrets", "login")["data"] == {"a": base64.b64encode(b"3").decode()}


def autoscaler(target: str, replicas: int) -> dict[str, Any]:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": target},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "minReplicas": 1,
            "maxReplicas": replicas,
        },
    }


def without_replicas(name: str) -> dict[str, Any]:
    manifest = deployment(name)
    del manifest["spec"]["replicas"]
    return manifest


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("removed", [True, False])
async def test_an_autoscaler_keeps_the_count_from_the_first_sync_on(
    shop: Shop, declared: bool, removed: bool
) -> None:
    """It has not scaled yet, so this agent owns the count alone; without it, the server's default is 1."""
    await sync(shop, deployment("web", replicas=3))
    scaler = autoscaler("web", 9)
    if not declared:
        path = f"/apis/autoscaling/v2/namespaces/{shop.namespace}/horizontalpodautoscalers"
        shop.cluster.request(path, scaler)
    web = without_replicas("web") if removed else deployment("web", replicas=2)
    log = await sync(shop, web, *([scaler] if declared else []))
    assert shop.get("deployments", "web")["spec"]["replicas"] == 3
    assert "HorizontalPodAutoscaler web controls the replicas; keeping them at 3" in log


async def test_a_count_that_is_removed_from_git_is_the_default_without_an_autoscaler(shop: Shop) -> None:
    await sync(shop, deployment("web", replicas=3))
    await sync(shop, without_replicas("web"), autoscaler("other", 9))
    assert shop.get("deployments", "web")["spec"]["replicas"] == 1


async def test_replacing_keeps_the_count_of_an_autoscaler(shop: Shop) -> None:
    replaced = deployment("web", replicas=2)
    replaced["metadata"]["annotations"] = {"pipecd.dev/sync-by-replace": "enabled"}
    await sync(shop, replaced)
    path = f"{shop.path('deployments', 'web', 'scale')}?fieldManager=keda"
    merge = "application/merge-patch+json"
    shop.cluster.request(path, {"spec": {"replicas": 5}}, method="PATCH", content_type=merge)
    await sync(shop, replaced)
    assert shop.get("deployments", "web")["spec"]["replicas"] == 5


TOOLS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "Argo CD": (
        "argocd-controller",
        {"annotations": {"argocd.argoproj.io/tracking-id": "shop:/ConfigMap:shop/a"}},
    ),
    "Flux": (
        "kustomize-controller",
        {"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}},
    ),
    "Helm": ("helm", {"annotations": {"meta.helm.sh/release-name": "shop"}}),
}


@pytest.mark.parametrize("tool", TOOLS)
async def test_an_object_of_another_tool_is_adopted_only_on_request(shop: Shop, tool: str) -> None:
    manager, marks = TOOLS[tool]
    theirs = config_map("a", {"x": "1", "removed": "1"})
    theirs["metadata"] |= marks
    path = f"{shop.path('configmaps', 'a')}?fieldManager={manager}&force=true"
    shop.cluster.request(path, theirs, method="PATCH", content_type="application/apply-patch+yaml")
    runner = shop.runner(shop.commit(config_map("a", {"x": "2"}), **QUICK))
    message = failure_text(await runner.run("K8S_SYNC"))
    assert f"exists, and belongs to {tool} (shop" in message
    assert 'annotate it here with pipecd.dev/adopt: "true"' in message
    log = await sync(shop, config_map("a", {"x": "2"}, adopt="true"))
    live = shop.get("configmaps", "a")
    assert live["data"] == {"x": "2"}, "what the tool applied and Git does not have stays"
    for name in ("annotations", "labels"):
        assert not [key for key in live["metadata"][name] if "pipecd.dev/" not in key]
    assert f"taking over what {manager} applied" in log
    # From now on it is this application's without the annotation.
    await sync(shop, config_map("a", {"x": "3"}))


async def test_what_piped_applied_between_two_syncs_is_taken_over_again(shop: Shop) -> None:
    """PipeCD's agent takes an application over, adds a field, and gives it back."""
    await sync(shop, config_map("a", {"x": "1"}))
    apply_as_piped(shop, config_map("a", {"x": "1", "y": "1"}))
    assert shop.get("configmaps", "a")["data"] == {"x": "1", "y": "1"}
    log = await sync(shop, config_map("a", {"x": "2"}))
    assert shop.get("configmaps", "a")["data"] == {"x": "2"}
    assert f"taking over what {KUBECTL} applied" in log


async def test_what_a_person_applied_beside_this_agent_stays(shop: Shop) -> None:
    await sync(shop, config_map("a", {"x": "1"}))
    shop.patch("configmaps", "a", {"data": {"y": "1"}}, manager=KUBECTL)
    await sync(shop, config_map("a", {"x": "2"}))
    assert shop.get("configmaps", "a")["data"] == {"x": "2", "y": "1"}


async def test_fields_that_were_applied_in_a_version_that_is_gone(shop: Shop) -> None:
    """A definition dropped the version in which its objects were applied."""
    group = f"{shop.namespace}.example.com"
    define_widgets(shop.cluster, group)
    widget: dict[str, Any] = {"kind": "Widget", "metadata": {"name": "a"}, "spec": {"x": 1, "y": 1}}
    await sync(shop, {**widget, "apiVersion": f"{group}/v1"})
    replace_version(shop, group, "v1", "v2")
    log = await sync(shop, {**widget, "apiVersion": f"{group}/v2", "spec": {"x": 2}})
    path = f"/apis/{group}/v2/namespaces/{shop.namespace}/widgets/a"
    assert shop.cluster.get(path)["spec"] == {"x": 2}
    assert f"its fields were applied as {group}/v1, which the cluster no longer has" in log


def replace_version(shop: Shop, group: str, old: str, new: str) -> None:
    """Adds a version, moves the stored objects to it, and removes the old one."""
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{group}"
    merge = "application/merge-patch+json"

    def change(**fields: Any) -> None:
        shop.cluster.request(path, fields, method="PATCH", content_type=merge)

    version = shop.cluster.get(path)["spec"]["versions"][0]
    change(spec={"versions": [{**version, "storage": False}, {**version, "name": new}]})
    objects = f"/apis/{group}/{new}/namespaces/{shop.namespace}/widgets"
    shop.wait_until(lambda: is_served(shop, objects))
    for item in shop.cluster.get(objects)["items"]:
        name = item["metadata"]["name"]
        shop.cluster.request(f"{objects}/{name}", item, method="PUT")
    status = f"{path}/status"
    shop.cluster.request(status, {"status": {"storedVersions": [new]}}, method="PATCH", content_type=merge)
    change(spec={"versions": [{**version, "name": new}]})
    shop.wait_until(lambda: shop.cluster.get(f"/apis/{group}/{old}") is None)


def is_served(shop: Shop, path: str) -> bool:
    """False also while the API server prepares a version."""
    try:
        return shop.cluster.get(path) is not None
    except OSError:
        return False
