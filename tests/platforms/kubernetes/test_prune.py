"""Pruning on a real cluster: what is deleted, and above all what is not."""

import random
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipecd.model.stage import Again, Failed
from pipecd.platforms.kubernetes.cluster.api import ApiClient
from pipecd.platforms.kubernetes.stages import prune
from tests.cluster.control_plane import Cluster
from tests.platforms.aws.stage_runner import assert_succeeded, failure_text
from tests.platforms.kubernetes.stage_runner import (
    KubernetesRunner,
    Shop,
    apply_as_piped,
    config_map,
    deployment,
)

PRUNE: dict[str, Any] = {"quickSync": {"prune": True}}


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path) -> Shop:
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
    allowed: dict[str, Any] = {"quickSync": {"prune": True, "pruneLimit": "80%"}}
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


async def test_what_asks_for_confirmation_is_kept_until_a_person_confirms(shop: Shop) -> None:
    kept = config_map("kept")
    kept["metadata"]["annotations"] = {"argocd.argoproj.io/sync-options": "Prune=confirm"}
    first = shop.commit(kept, config_map("gone"))
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    second = shop.commit(config_map("a"), **PRUNE)
    runner = shop.runner(first).next_deployment(second)
    assert_succeeded(await runner.run("K8S_SYNC"))
    assert names(shop) == {"a", "kept"}
    log = "\n".join(runner.log.lines)
    advice = re.search(r"annotate it with (\S+) and the current time, such as (\S+), and sync again", log)
    assert advice and "kept until its deletion is confirmed" in log
    shop.patch("configmaps", "kept", {"metadata": {"annotations": {advice[1]: advice[2]}}})
    assert_succeeded(await runner.next_deployment(second).run("K8S_SYNC"))
    assert names(shop) == {"a"}


@pytest.mark.parametrize(
    ("value", "approved"),
    [
        ("2026-01-02T10:00:00Z", True),
        ("2026-01-02T12:00:00+02:00", True),
        ("2026-01-01T11:00:00Z", True),
        ("2026-01-01T09:00:00Z", False),
        ("2026-01-03T10:00:00Z", False),
        ("true", False),
        ("", False),
        ("9" * 10_000, False),
    ],
)
def test_a_confirmation_is_the_time_of_the_last_day(value: str, *, approved: bool) -> None:
    now = datetime(2026, 1, 2, 10, tzinfo=UTC).timestamp()
    assert prune.is_approved({prune.ARGO_APPROVED: value}, now) is approved


async def test_what_does_not_end_is_named(shop: Shop) -> None:
    shop.settings = replace(shop.settings, gone_timeout=2.0)
    held = config_map("held")
    held["metadata"]["finalizers"] = ["example.com/hangs"]
    first = shop.commit(held, config_map("a"))
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    runner = shop.runner(first).next_deployment(shop.commit(config_map("a"), **PRUNE))
    done = assert_succeeded(await runner.run("K8S_SYNC"))
    assert "1 deleted objects have not ended yet" in done.note
    log = "\n".join(runner.log.lines)
    assert "is still being deleted: it waits for its finalizers example.com/hangs" in log
    shop.patch("configmaps", "held", {"metadata": {"finalizers": None}})


async def test_objects_of_piped_are_found_by_the_running_commit(shop: Shop) -> None:
    """PipeCD's agent writes annotations and no labels."""
    for name in ("a", "b", "foreign"):
        piped = "other" if name == "foreign" else shop.application
        apply_as_piped(shop, config_map(name), application=piped)
    first = shop.commit(config_map("a"), config_map("b"), config_map("foreign"))
    runner = shop.runner(shop.commit(config_map("a"), **PRUNE), first)
    assert_succeeded(await runner.run("K8S_SYNC"))
    assert names(shop) == {"a", "foreign"}


async def test_kinds_are_listed_again_only_if_the_application_had_them(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first time, everything is looked at."""
    lists: list[str] = []
    send = ApiClient.send

    async def counted(client: ApiClient, method: str, path: str, **options: Any) -> Any:
        if "labelSelector" in (options.get("params") or {}):
            lists.append(path.rpartition("/")[2])
        return await send(client, method, path, **options)

    monkeypatch.setattr(ApiClient, "send", counted)
    first = shop.commit(config_map("a"), service("a"), **PRUNE)
    runner = shop.runner(first)
    assert_succeeded(await runner.run("K8S_SYNC"))
    assert {"configmaps", "services", "secrets", "deployments"} <= set(lists)
    for commit in (shop.commit(config_map("a"), **PRUNE), shop.commit(config_map("a"), **PRUNE)):
        lists.clear()
        runner = runner.next_deployment(commit)
        assert_succeeded(await runner.run("K8S_SYNC"))
        assert sorted(lists) == ["configmaps", "services"]
    assert shop.get("services", "a") is None


async def test_a_rollback_deletes_what_the_failed_commit_added(shop: Shop) -> None:
    """Not what was there before, what is kept, and what another program made or changed hands."""
    before = shop.create("configmaps", config_map("before", {"x": "1"}))
    first = shop.commit(config_map("a"))
    assert_succeeded(await shop.runner(first).run("K8S_SYNC"))
    volume = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": volume,
    }
    failing = shop.commit(
        config_map("a", {"x": "2"}),
        config_map("added"),
        config_map("before", {"x": "2"}),
        config_map("kept", prune="disabled"),
        claim,
        deployment("web", "web:nopull", deadline=2),
    )
    runner = shop.runner(first).next_deployment(failing)
    assert isinstance(await runner.run("K8S_SYNC"), Failed)
    assert names(shop) == {"a", "added", "before", "kept"}
    assert_succeeded(await runner.run("ROLLBACK"))
    assert f"Deleted ConfigMap added in {shop.namespace}" in runner.log.lines
    assert names(shop) == {"a", "before", "kept"}
    assert shop.get("deployments", "web") is None
    assert shop.get("persistentvolumeclaims", "data") is not None
    assert shop.get("configmaps", "before")["metadata"]["uid"] == before["metadata"]["uid"]


def service(name: str, port: int = 80) -> dict[str, Any]:
    spec = {"selector": {"app": name}, "ports": [{"port": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def secret(name: str, data: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def role(name: str, data: dict[str, str]) -> dict[str, Any]:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": sorted(data)}]
    metadata = {"name": name, "annotations": data}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata,
        "rules": rules,
    }


#: How a random object of each kind is made from random texts, and its path.
MAKERS: dict[str, tuple[Callable[[str, dict[str, str]], Any], str]] = {
    "ConfigMap": (config_map, "/api/v1/namespaces/{}/configmaps"),
    "Secret": (secret, "/api/v1/namespaces/{}/secrets"),
    "Service": (lambda name, data: service(name, 80 + len(data)), "/api/v1/namespaces/{}/services"),
    "Role": (role, "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles"),
}


def random_objects(rng: random.Random) -> list[Any]:
    """At least one."""
    chosen = rng.sample([(kind, name) for kind in MAKERS for name in "abc"], rng.randint(1, 9))
    return [
        MAKERS[kind][0](name, {key: str(rng.randint(0, 3)) for key in rng.sample("xyz", rng.randint(1, 3))})
        for kind, name in chosen
    ]


def content(shop: Shop, namespace: str) -> dict[tuple[str, str], Any]:
    """What the objects of the namespace contain, without what differs between namespaces and times."""
    found = {}
    for kind, (_, path) in MAKERS.items():
        for item in shop.cluster.get(path.format(namespace))["items"]:
            metadata = item["metadata"]
            annotations = {
                key: value
                for key, value in (metadata.get("annotations") or {}).items()
                if not key.startswith("pipecd.dev/")
            }
            spec = {key: value for key, value in (item.get("spec") or {}).items() if "lusterIP" not in key}
            body = {key: item[key] for key in ("data", "rules") if key in item}
            found[kind, metadata["name"]] = (sorted(metadata.get("labels") or ()), annotations, spec, body)
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_random_changes_leave_the_cluster_as_a_clean_apply_would(
    shop: Shop, seed: int, cluster: Cluster, tmp_path: Path
) -> None:
    """From A to B and back to A, among foreign objects and copies that an operator made of ours."""
    rng = random.Random(seed)
    sets = {name: random_objects(rng) for name in "AB"}
    settings: dict[str, Any] = {"quickSync": {"prune": True, "pruneLimit": 100}}
    clean = {}
    for name, objects in sets.items():
        other = f"{shop.namespace}-{name.lower()}"
        (tmp_path / name).mkdir()
        copy = Shop(cluster, other, tmp_path / name)
        spec = {**settings, "input": {"namespace": other, "autoCreateNamespace": True}}
        assert_succeeded(await copy.runner(copy.commit(*objects, **spec)).run("K8S_SYNC"))
        clean[name] = content(copy, other)
    shop.create("configmaps", config_map("foreign", {"x": "1"}))
    foreign = content(shop, shop.namespace)
    runner: KubernetesRunner | None = None
    for name in "ABA":
        commit = shop.commit(*sets[name], **settings)
        runner = runner.next_deployment(commit) if runner else shop.runner(commit)
        assert_succeeded(await runner.run("K8S_SYNC"))
        live = content(shop, shop.namespace)
        assert live == {**clean[name], **foreign}, f"seed {seed}, after {name}"
        foreign = {**foreign, **copy_as_operator(shop, rng, live, foreign)}


def copy_as_operator(shop: Shop, rng: random.Random, live: Any, foreign: Any) -> dict[tuple[str, str], Any]:
    """An operator copies one of our objects with all its labels and annotations, under another name."""
    kind, name = rng.choice(sorted(live.keys() - foreign.keys()))
    path = MAKERS[kind][1].format(shop.namespace)
    original = shop.cluster.get(f"{path}/{name}")
    metadata = {key: original["metadata"].get(key) or {} for key in ("labels", "annotations")}
    copy = f"copy-{len(foreign)}-{name}"
    body = {key: original[key] for key in ("apiVersion", "kind", "data", "rules") if key in original}
    if kind == "Service":
        body["spec"] = {key: original["spec"][key] for key in ("ports", "selector")}
    created = {**body, "metadata": {**metadata, "name": copy}}
    shop.cluster.request(f"{path}?fieldManager=operator", created)
    return {(kind, copy): content(shop, shop.namespace)[kind, copy]}
