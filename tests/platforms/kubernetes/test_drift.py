"""Drift on a real cluster: none after a sync, and every manual change."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.model.drift import Drift
from pipecd.platforms.kubernetes import platform
from pipecd.platforms.kubernetes.cluster.api import ApiClient
from pipecd.platforms.kubernetes.config import Provider
from pipecd.platforms.kubernetes.drift import detect_drift
from pipecd.platforms.kubernetes.stages import job
from tests.cluster.control_plane import Cluster
from tests.platforms.aws.observation import observation_request
from tests.platforms.aws.stage_runner import assert_succeeded
from tests.platforms.kubernetes.corpus import CORPUS
from tests.platforms.kubernetes.stage_runner import Shop, config_map, deployment


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(job, "CALL_SECONDS", 1.0)
    return Shop(cluster, namespace, tmp_path)


async def sync(shop: Shop, *manifests: Any, **spec: Any) -> Path:
    commit = shop.commit(*manifests, **spec)
    assert_succeeded(await shop.runner(commit).run("K8S_SYNC"))
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


async def test_an_agent_may_be_limited_to_a_namespace(shop: Shop) -> None:
    """Its role is that of one namespace, so it lists objects only there."""
    commit = await sync(shop, config_map("a"), config_map("b"))
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "patch"]}]
    group, user = "rbac.authorization.k8s.io", f"user-{shop.namespace}"
    role = {"apiGroup": group, "kind": "Role", "name": "limited"}
    for kind, fields in {
        "Role": {"rules": rules},
        "RoleBinding": {"roleRef": role, "subjects": [{"apiGroup": group, "kind": "User", "name": user}]},
    }.items():
        shop.cluster.request(
            f"/apis/{group}/v1/namespaces/{shop.namespace}/{kind.lower()}s",
            {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "limited"}, **fields},
        )
    kubeconfig = commit.parent / "limited.kubeconfig"
    config = shop.cluster.config({"token": shop.cluster.tokens["admin"], "as": user})
    kubeconfig.write_text(yaml.safe_dump(config))
    provider = Provider.model_validate(
        {"kubeConfigPath": str(kubeconfig), "appStateInformer": {"namespace": shop.namespace}}
    )
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
