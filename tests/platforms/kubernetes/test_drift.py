"""Drift on a real cluster: none after a sync, and every manual change."""

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.clock import SYSTEM_CLOCK
from pipecd.model.drift import Drift
from pipecd.platforms.connections import connection_pool
from pipecd.platforms.kubernetes import platform
from pipecd.platforms.kubernetes.cluster.api import ApiClient, open_client
from pipecd.platforms.kubernetes.cluster.connection import connect
from pipecd.platforms.kubernetes.cluster.discovery import Discovery
from pipecd.platforms.kubernetes.cluster.kubeconfig import load_access
from pipecd.platforms.kubernetes.compared import comparisons
from pipecd.platforms.kubernetes.config import Provider
from pipecd.platforms.kubernetes.drift import detect_drift
from tests.cluster.control_plane import Cluster
from tests.platforms.aws.observation import observation_request
from tests.platforms.aws.stage_runner import assert_succeeded
from tests.platforms.kubernetes.access import wait_until_effective
from tests.platforms.kubernetes.corpus import CORPUS
from tests.platforms.kubernetes.stage_runner import Shop, config_map, deployment
from tests.platforms.kubernetes.well_known import well_known

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]},
}


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path) -> Shop:
    return Shop(cluster, namespace, tmp_path)


async def sync(shop: Shop, *manifests: Any, **spec: Any) -> Path:
    commit = shop.commit(*manifests, **spec)
    assert_succeeded(await shop.runner(commit).run("K8S_SYNC"))
    # What was just applied would not be compared.
    comparisons.clear()
    return commit


async def drift(shop: Shop, commit: Path, *ignored: str, provider: Provider | None = None) -> Drift:
    provider = provider or shop.runner(commit).provider
    request = await observation_request(platform, provider, commit, *ignored)
    return await detect_drift(replace(request, application=replace(request.application, id=shop.application)))


async def test_nothing_differs_after_a_sync(shop: Shop) -> None:
    commit = await sync(shop, *CORPUS)
    assert (await drift(shop, commit)).details == ""
    label = await sync(shop, deployment("labelled"), quickSync={"addVariantLabelToSelector": True})
    assert "Deployment labelled" not in (await drift(shop, label)).details


async def test_well_known_charts_do_not_differ_after_a_sync_and_every_edit_is_found(shop: Shop) -> None:
    """One scalar field of each object is edited, chosen at random but the same in each run."""
    manifests = well_known(shop.namespace)
    commit = await sync(shop, *manifests, input={"waitForReady": False})
    found = await drift(shop, commit)
    assert (found.summary, found.details) == ("The live state matches Git", "")
    edited, kinds = [], {}
    async with open_client(load_access(path=str(shop.cluster.kubeconfig)), per_second=1000) as client:
        discovery, choose = Discovery(client), random.Random(1)
        for manifest in manifests:
            kind = await discovery.find(manifest["apiVersion"], manifest["kind"])
            path = kind.path(shop.namespace if kind.namespaced else "", manifest["metadata"]["name"])
            fields = list(scalars(manifest))
            choose.shuffle(fields)
            for field in fields:
                if edit(shop, path, field):
                    edited.append(f"# {manifest['kind']} {manifest['metadata']['name']}")
                    kinds[manifest["kind"]] = field
                    break
    assert len(kinds) >= 15
    details = (await drift(shop, commit)).details
    assert [title for title in edited if f"{title} in" not in details] == [], details[:3000]


def scalars(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of the values of a manifest, as in JSON pointers; not of what identifies the object."""
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            if path or key not in ("apiVersion", "kind"):
                yield from scalars(value, (*path, str(key)))
    elif path[:2] != ("metadata", "name"):
        yield path


def edit(shop: Shop, path: str, field: tuple[str, ...]) -> bool:
    """Whether the API accepted another value of the field, and has it now."""
    live = shop.cluster.get(path)
    value = live
    for part in field:
        if isinstance(value, list):
            value = value[int(part)] if int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return False
    other = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else f"{value}x"
    pointer = "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in field)
    operation = [{"op": "replace", "path": pointer, "value": other}]
    where, content_type = f"{path}?fieldManager=kubectl-edit", "application/json-patch+json"
    try:
        shop.cluster.request(where, operation, method="PATCH", content_type=content_type)
    except OSError:
        return False
    return bool(shop.cluster.get(path)["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"])


@pytest.mark.parametrize(
    ("kind", "name", "change", "lines"),
    [
        ("configmaps", "settings", {"data": {"a": "2"}}, ['-  a: "2"', '+  a: "1"']),
        ("configmaps", "settings", {"metadata": {"labels": {"app": None}}}, ["+    app: web"]),
        ("deployments", "web", {"spec": {"replicas": 3}}, ["-  replicas: 3", "+  replicas: 1"]),
        ("services", "web", {"spec": {"type": "NodePort"}}, ["-  type: NodePort"]),
        ("secrets", "login", {"stringData": {"password": "hunter3"}}, ["# Secret login"]),
    ],
)
async def test_a_manual_change_is_found(
    shop: Shop, kind: str, name: str, change: Any, lines: list[str]
) -> None:
    settings = config_map("settings", {"a": "1"})
    settings["metadata"]["labels"] = {"app": "web"}
    service, secret = CORPUS[6], CORPUS[4]
    commit = await sync(
        shop,
        settings,
        deployment("web"),
        {**service, "spec": {**service["spec"], "type": "ClusterIP"}},
        secret,
    )
    assert (await drift(shop, commit)).in_sync
    shop.patch(kind, name, change, manager="kubectl-edit")
    found = await drift(shop, commit)
    assert found.summary == "Differs from Git: 1 changed"
    assert [line for line in lines if line not in found.details] == [], found.details
    assert "hunter" not in found.details and "aHVudGVy" not in found.details


async def test_what_is_missing_and_what_is_not_in_git(shop: Shop) -> None:
    await sync(shop, config_map("a"), config_map("b"))
    commit = shop.commit(
        config_map("a"),
        config_map("c"),
        {"apiVersion": "x.example/v1", "kind": "X", "metadata": {"name": "x"}},
    )
    found = await drift(shop, commit)
    assert found.summary == "Differs from Git: 2 missing, 1 not in Git"
    for line in (
        f"- ConfigMap b in {shop.namespace}: not in Git",
        f"+ ConfigMap c in {shop.namespace}: not running",
    ):
        assert line in found.details


def limited_provider(shop: Shop, commit: Path, verbs: list[str]) -> Provider:
    """Of a user with a role in the namespace alone."""
    resources = ["configmaps", "deployments"]
    rules = [{"apiGroups": ["", "apps"], "resources": resources, "verbs": verbs}]
    group, user = "rbac.authorization.k8s.io", f"user-{shop.namespace}"
    role = {"apiGroup": group, "kind": "Role", "name": "limited"}
    bodies: dict[str, dict[str, Any]] = {
        "Role": {"rules": rules},
        "RoleBinding": {"roleRef": role, "subjects": [{"apiGroup": group, "kind": "User", "name": user}]},
    }
    for kind, fields in bodies.items():
        shop.cluster.request(
            f"/apis/{group}/v1/namespaces/{shop.namespace}/{kind.lower()}s",
            {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "limited"}, **fields},
        )
    wait_until_effective(shop.cluster, {"rules": rules}, user, shop.namespace)
    kubeconfig = commit.parent / "limited.kubeconfig"
    config = shop.cluster.config({"token": shop.cluster.tokens["admin"], "as": user})
    kubeconfig.write_text(yaml.safe_dump(config))
    return Provider.model_validate(
        {"kubeConfigPath": str(kubeconfig), "appStateInformer": {"namespace": shop.namespace}}
    )


async def test_an_agent_may_be_limited_to_a_namespace(shop: Shop) -> None:
    """Its role is that of one namespace, so it lists objects only there."""
    commit = await sync(shop, config_map("a"), config_map("b"))
    provider = limited_provider(shop, commit, ["get", "list", "patch"])
    found = await drift(shop, shop.commit(config_map("a")), provider=provider)
    assert found.summary == "Differs from Git: 1 not in Git"


async def test_ignored_fields_and_objects(shop: Shop) -> None:
    ignored = config_map("ignored", {"a": "1"}, ignore_drift_detection="true")
    commit = await sync(shop, ignored, config_map("settings", {"a": "1"}))
    for name in ("ignored", "settings"):
        shop.patch("configmaps", name, {"data": {"a": "2"}})
    field = f"v1:ConfigMap:{shop.namespace}:settings#data.a"
    assert (await drift(shop, commit, field)).in_sync
    assert (await drift(shop, commit)).summary == "Differs from Git: 1 changed"


async def test_what_a_sync_could_not_change_is_shown(shop: Shop) -> None:
    await sync(shop, deployment("web"))
    changed = deployment("web")
    changed["spec"]["selector"]["matchLabels"]["tier"] = "front"
    changed["spec"]["template"]["metadata"]["labels"]["tier"] = "front"
    found = await drift(shop, shop.commit(changed))
    assert "field is immutable" in found.details


async def test_fields_of_other_managers_are_no_drift(shop: Shop) -> None:
    """A controller adds an annotation, and an autoscaler scales."""
    commit = await sync(shop, deployment("web", replicas=2))
    shop.patch("deployments", "web", {"metadata": {"annotations": {"checked": "yes"}}}, manager="controller")
    scale = f"{shop.path('deployments', 'web', 'scale')}?fieldManager=keda"
    merge = "application/merge-patch+json"
    shop.cluster.request(scale, {"spec": {"replicas": 4}}, method="PATCH", content_type=merge)
    assert (await drift(shop, commit)).in_sync


async def test_fields_that_people_added_are_listed_beside_drift(shop: Shop) -> None:
    commit = await sync(shop, config_map("settings", {"a": "1"}), SERVICE)
    shop.patch("configmaps", "settings", {"data": {"b": "2"}}, manager="kubectl-edit")
    shop.patch("configmaps", "settings", {"metadata": {"labels": {"team": "x"}}}, manager="node-fetch")
    shop.patch("services", "web", {"spec": {"publishNotReadyAddresses": True}}, manager="kubectl-patch")
    shop.patch(
        "services", "web", {"metadata": {"annotations": {"c": "d"}}}, manager="cloud-controller-manager"
    )
    found = await drift(shop, commit)
    assert found.in_sync
    assert found.summary.endswith(": 3"), found.details
    title, *lines = found.details.splitlines()
    assert title == "# Added beside Git, and no drift:"
    where = f"in {shop.namespace}"
    assert [line.partition(", 20")[0] for line in lines] == [
        f"~ ConfigMap settings {where}: data.b (kubectl-edit",
        f"~ ConfigMap settings {where}: metadata.labels.team (node-fetch",
        f"~ Service web {where}: spec.publishNotReadyAddresses (kubectl-patch",
    ]
    assert (await drift(shop, commit)).details == found.details, "also when nothing is compared again"
    ignored = f"v1:ConfigMap:{shop.namespace}:settings#/data/b"
    assert "data.b" not in (await drift(shop, commit, ignored)).details


async def test_strict_detection_reports_added_fields_and_a_sync_removes_them(shop: Shop) -> None:
    settings = config_map("settings", {"a": "1"})
    strict: dict[str, Any] = {
        "driftDetection": {"strict": True, "ignoreFields": [f"*:*:{shop.namespace}:settings#/data/kept"]}
    }
    commit = await sync(shop, settings, SERVICE, **strict)
    shop.patch("configmaps", "settings", {"data": {"b": "2", "kept": "3"}}, manager="kubectl-edit")
    added = {"name": "more", "port": 81, "protocol": "TCP"}
    ports = [*shop.get("services", "web")["spec"]["ports"], added]
    shop.patch("services", "web", {"spec": {"ports": ports}}, manager="kubectl-edit")
    shop.patch(
        "services", "web", {"metadata": {"annotations": {"c": "d"}}}, manager="cloud-controller-manager"
    )
    ignored = strict["driftDetection"]["ignoreFields"]
    found = await drift(shop, commit, *ignored)
    assert found.summary == "Differs from Git: 2 changed"
    assert '-  b: "2"' in found.details and "-  - name: more" in found.details
    assert found.changed_by == ("kubectl-edit",)
    assert_succeeded(await shop.runner(commit).run("K8S_SYNC"))
    assert shop.get("configmaps", "settings")["data"] == {"a": "1", "kept": "3"}
    assert len(shop.get("services", "web")["spec"]["ports"]) == 1
    assert shop.get("services", "web")["metadata"]["annotations"]["c"] == "d", "a controller's"
    assert (await drift(shop, commit, *ignored)).in_sync


async def test_who_changed_an_object_is_named(shop: Shop) -> None:
    commit = await sync(shop, config_map("settings", {"a": "1", "b": "1"}))
    shop.patch("configmaps", "settings", {"data": {"a": "2"}}, manager="kubectl-patch")
    found = await drift(shop, commit)
    assert found.changed_by == ("kubectl-patch",)
    assert f"# ConfigMap settings in {shop.namespace} (changed by kubectl-patch at 20" in found.details
    shop.patch("configmaps", "settings", {"data": {"a": "3"}}, manager="kubectl-patch")
    assert (await drift(shop, commit)).fingerprint == found.fingerprint
    shop.patch("configmaps", "settings", {"data": {"b": "3"}}, manager="kubectl-patch")
    assert (await drift(shop, commit)).fingerprint != found.fingerprint


async def test_a_sync_leaves_ignored_fields_and_corrects_others(shop: Shop) -> None:
    """Also one item of a list with keys: the other items are corrected."""
    web = deployment("web", replicas=1)
    web["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "1"},
    ]
    key = f"apps/v1:Deployment:{shop.namespace}:web"
    ignored = [f"{key}#spec.replicas", f"{key}#/spec/template/spec/containers/*/env/A/value"]
    settings = config_map("settings", {"app.conf": "1", "other": "1"})
    ignored.append(f"v1:ConfigMap:{shop.namespace}:settings#/data/app.conf")
    commit = await sync(shop, web, settings, driftDetection={"ignoreFields": ignored})
    containers = shop.get("deployments", "web")["spec"]["template"]["spec"]["containers"]
    containers[0]["env"] = [{"name": "A", "value": "2"}, {"name": "B", "value": "2"}]
    change = {"spec": {"replicas": 2, "template": {"spec": {"containers": containers}}}}
    shop.patch("deployments", "web", change, manager="kubectl-edit")
    shop.patch("configmaps", "settings", {"data": {"app.conf": "2", "other": "2"}}, manager="kubectl-edit")
    found = await drift(shop, commit, *ignored)
    assert found.summary == "Differs from Git: 2 changed"
    assert "replicas" not in found.details and "app.conf" not in found.details
    assert_succeeded(await shop.runner(commit).run("K8S_SYNC"))
    spec = shop.get("deployments", "web")["spec"]
    assert spec["replicas"] == 2
    assert spec["template"]["spec"]["containers"][0]["env"] == [
        {"name": "A", "value": "2"},
        {"name": "B", "value": "1"},
    ]
    assert shop.get("configmaps", "settings")["data"] == {"app.conf": "2", "other": "1"}
    assert (await drift(shop, commit, *ignored)).in_sync


async def test_ignored_fields_of_objects_without_a_namespace_have_pipecds_key(shop: Shop) -> None:
    name = f"role-{shop.namespace}"
    group = "rbac.authorization.k8s.io"
    role = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": {"a": "1"}},
    }
    commit = await sync(shop, {**role, "rules": []})
    path = f"/apis/{group}/v1/clusterroles/{name}?fieldManager=kubectl-edit"
    merge = "application/merge-patch+json"
    change = {"metadata": {"labels": {"a": "2"}}}
    shop.cluster.request(path, change, method="PATCH", content_type=merge)
    assert not (await drift(shop, commit)).in_sync
    assert (await drift(shop, commit, f"{group}/v1:ClusterRole:default:{name}#metadata.labels.a")).in_sync


async def test_an_object_of_another_application_does_not_run(shop: Shop) -> None:
    foreign = config_map("settings", {"a": "1"}, application="another")
    shop.create("configmaps", foreign)
    found = await drift(shop, shop.commit(config_map("settings", {"a": "1"})))
    assert found.summary == "Differs from Git: 1 missing"
    assert "belongs to the application another" in found.details


async def test_without_the_right_to_dry_runs_manifests_are_compared(shop: Shop) -> None:
    commit = await sync(shop, deployment("web"), config_map("settings", {"a": "1"}))
    provider = limited_provider(shop, commit, ["get", "list"])
    found = await drift(shop, commit, provider=provider)
    assert found.in_sync, found.details
    assert "! Deployment web" in found.details and "was compared with its manifest" in found.details
    assert 'cannot patch resource "deployments"' in found.details
    shop.patch("deployments", "web", {"spec": {"replicas": 3}}, manager="kubectl-edit")
    found = await drift(shop, commit, provider=provider)
    assert found.summary == "Differs from Git: 1 changed" and "-  replicas: 3" in found.details


async def test_an_unchanged_object_is_not_compared_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = await sync(shop, config_map("a"), config_map("b"))
    requests: list[tuple[str, str]] = []
    send = ApiClient.send

    async def counted(client: ApiClient, method: str, path: str, **options: Any) -> Any:
        requests.append((method, path))
        return await send(client, method, path, **options)

    monkeypatch.setattr(ApiClient, "send", counted)
    a, b = shop.path("configmaps", "a"), shop.path("configmaps", "b")
    for compared in ({a, b}, {a}):
        await drift(shop, commit)
        read = [path for method, path in requests if method == "GET" and path in (a, b)]
        assert sorted(read) == [a, b]
        assert sorted(path for method, path in requests if method == "PATCH") == sorted(compared)
        requests.clear()
        shop.patch("configmaps", "a", {"metadata": {"annotations": {"x": "y"}}})


async def test_what_a_sync_applied_is_not_compared_also_after_a_restart(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = shop.commit(deployment("web"), config_map("a"), SERVICE)
    provider = shop.runner(commit).provider
    kinds = [("apps", "Deployment"), ("", "ConfigMap"), ("", "Service")]
    sent: list[tuple[str, str]] = []
    send = ApiClient.send

    async def counted(client: ApiClient, method: str, path: str, **options: Any) -> Any:
        sent.append((method, path))
        return await send(client, method, path, **options)

    monkeypatch.setattr(ApiClient, "send", counted)
    async with connection_pool(SYSTEM_CLOCK), connect(provider) as cluster:
        assert_succeeded(await shop.runner(commit).run("K8S_SYNC"))
        stored = comparisons.dump()
        cluster.follower.want(shop.application, kinds)
        following = asyncio.create_task(cluster.follower.run(lambda application: None))
        try:
            await cluster.follower.wait_until_synced(kinds, 10)
            sent.clear()
            assert (await drift(shop, commit)).in_sync
            assert not sent
            comparisons.clear()
            comparisons.load(b"[]")
            comparisons.load(stored)
            assert (await drift(shop, commit)).in_sync
            assert not sent
            changed = shop.commit(deployment("web"), config_map("a", {"x": "y"}), SERVICE)
            assert not (await drift(shop, changed)).in_sync
        finally:
            following.cancel()
            await asyncio.wait([following])


async def test_a_followed_cluster_is_not_asked_while_nothing_changes(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manual change is announced at once, and costs the requests for one object."""
    commit = await sync(shop, deployment("web"), config_map("a"), config_map("b"), SERVICE)
    provider = shop.runner(commit).provider
    sent: list[tuple[str, str]] = []
    send = ApiClient.send

    async def counted(client: ApiClient, method: str, path: str, **options: Any) -> Any:
        sent.append((method, path))
        return await send(client, method, path, **options)

    monkeypatch.setattr(ApiClient, "send", counted)
    changed = asyncio.Event()
    async with connection_pool(SYSTEM_CLOCK), connect(provider) as cluster:

        def on_change(application: str) -> None:
            if application == shop.application:
                changed.set()

        kinds = [("apps", "Deployment"), ("", "ConfigMap"), ("", "Service")]
        cluster.follower.want(shop.application, kinds)
        following = asyncio.create_task(cluster.follower.run(on_change))
        try:
            await cluster.follower.wait_until_synced(kinds, 10)
            assert (await drift(shop, commit)).in_sync
            sent.clear()
            for _ in range(3):
                assert (await drift(shop, commit)).in_sync
            assert not sent
            changed.clear()
            shop.patch("configmaps", "a", {"data": {"x": "y"}}, manager="kubectl-edit")
            started = time.monotonic()
            await asyncio.wait_for(changed.wait(), 10)
            found = await drift(shop, commit)
            assert time.monotonic() - started < 2
            assert f"ConfigMap a in {shop.namespace}: data.x (kubectl-edit" in found.details
            path = shop.path("configmaps", "a")
            assert sent == [("GET", path), ("PATCH", path)]
            changed.clear()
            shop.cluster.request(shop.path("configmaps", "b"), method="DELETE")
            await asyncio.wait_for(changed.wait(), 10)
            assert (await drift(shop, commit)).summary.startswith("Differs from Git: 1 missing")
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
