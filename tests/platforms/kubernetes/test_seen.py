"""Which objects of a cluster are kept, and which applications a change belongs to."""

import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest

from pipecd.model.resource import Health
from pipecd.platforms.kubernetes.cluster.seen import SeenObject, SeenObjects, Selector
from pipecd.platforms.kubernetes.cluster.types import ResourceType
from pipecd.platforms.kubernetes.health.rules import HealthRules
from pipecd.platforms.kubernetes.reduce import Reducer


def record(uid: str, *owners: str, app: str = "", kind: str = "Pod", **fields: Any) -> SeenObject:
    api_version = {"Pod": "v1", "ReplicaSet": "apps/v1", "Deployment": "apps/v1"}[kind]
    return SeenObject(
        uid=uid,
        api_version=api_version,
        kind=kind,
        namespace="shop",
        name=uid,
        resource_version="1",
        application=app,
        owners=owners,
        **fields,
    )


DEPLOYMENT = record("web", app="app", kind="Deployment")
REPLICA_SET = record("rs", "web", kind="ReplicaSet")
POD = record("pod", "rs")


class Changes(list[str]):
    """The ids of applications that changed since they were taken."""

    def take(self) -> list[str]:
        taken = sorted(self)
        self.clear()
        return taken


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
def objects(changes: Changes) -> SeenObjects:
    return SeenObjects(changes.append)


def tree(objects: SeenObjects, application: str = "app") -> list[str]:
    return [item.uid for item in objects.tree(application)]


@pytest.mark.parametrize(
    "order",
    [
        (DEPLOYMENT, REPLICA_SET, POD),
        (POD, REPLICA_SET, DEPLOYMENT),
        (REPLICA_SET, POD, DEPLOYMENT),
        (POD, DEPLOYMENT, REPLICA_SET),
    ],
    ids=lambda order: " ".join(item.uid for item in order),
)
def test_objects_below_a_marked_one_are_kept_in_any_order(
    objects: SeenObjects, changes: Changes, order: Sequence[SeenObject]
) -> None:
    for item in order:
        objects.put(item)
    objects.put(record("other", "elsewhere"))
    assert tree(objects) == ["web", "rs", "pod"]
    assert len(objects) == 3
    assert set(changes.take()) == {"app"}
    assert [item.uid for item in objects.of_application("app")] == ["web"]


def test_a_change_is_announced_unless_it_is_noise(objects: SeenObjects, changes: Changes) -> None:
    for item in (DEPLOYMENT, REPLICA_SET, POD):
        objects.put(item)
    changes.take()
    objects.put(record("pod", "rs", updated_at=5, generation=0))
    assert changes.take() == []
    known = objects.get("pod")
    assert known and known.updated_at == 0
    objects.put(record("pod", "rs", health=Health.UNHEALTHY, updated_at=6))
    assert changes.take() == ["app"]
    objects.remove("pod")
    assert changes.take() == ["app"]
    objects.remove("pod")
    assert changes.take() == []


def test_what_loses_its_owner_waits_for_another_one(objects: SeenObjects, changes: Changes) -> None:
    for item in (DEPLOYMENT, REPLICA_SET, POD):
        objects.put(item)
    objects.remove("web")
    assert (tree(objects), len(objects)) == ([], 0)
    objects.put(record("rs", "new", kind="ReplicaSet"))
    objects.put(record("new", app="other", kind="Deployment"))
    assert tree(objects, "other") == ["new", "rs", "pod"]


def test_an_object_that_gets_or_loses_its_marks_changes_its_application(
    objects: SeenObjects, changes: Changes
) -> None:
    objects.put(DEPLOYMENT)
    objects.put(REPLICA_SET)
    changes.take()
    objects.put(record("web", app="other", kind="Deployment"))
    assert changes.take() == ["app", "other"]
    assert (tree(objects), tree(objects, "other")) == ([], ["web", "rs"])
    objects.put(record("web", kind="Deployment"))
    assert (changes.take(), len(objects)) == (["other"], 0)


def test_a_list_removes_what_it_does_not_contain(objects: SeenObjects, changes: Changes) -> None:
    for item in (DEPLOYMENT, REPLICA_SET, POD, record("pod-2", "rs")):
        objects.put(item)
    changes.take()
    objects.retain(("", "Pod"), {"pod-2"})
    assert (tree(objects), changes.take()) == (["web", "rs", "pod-2"], ["app"])
    objects.retain(("apps", "Deployment"), ())
    assert len(objects) == 0


def test_objects_of_others_are_dropped() -> None:
    objects = SeenObjects(max_unclaimed=2)
    for number in range(3):
        objects.put(record(f"pod-{number}", "web"))
    assert objects.dropped_unclaimed
    objects.put(DEPLOYMENT)
    assert sorted(tree(objects)) == ["pod-1", "pod-2", "web"]


def test_owners_that_own_one_another_are_harmless(objects: SeenObjects) -> None:
    objects.put(record("a", "b", app="app"))
    objects.put(record("b", "a"))
    assert tree(objects) == ["a", "b"]
    objects.remove("a")
    assert len(objects) == 0


@pytest.mark.parametrize(
    ("term", "matches"),
    [
        (("app", ("web",), False), True),
        (("app", ("api",), False), False),
        (("app", ("api",), True), True),
        (("tier", None, False), False),
        (("tier", None, True), True),
        (("app", None, False), True),
        (("tier", ("x",), True), True),
    ],
)
def test_labels_select(term: Any, matches: bool) -> None:
    assert Selector(kinds=frozenset(), terms=(term,)).matches({"app": "web"}) is matches


def test_ten_thousand_pods_are_small(objects: SeenObjects) -> None:
    """As dicts they take more than 200 MB."""
    reduce, pods = (
        Reducer(HealthRules()),
        ResourceType(group="", version="v1", kind="Pod", plural="pods", namespaced=True),
    )
    objects.put(DEPLOYMENT)
    for number in range(100):
        objects.put(record(f"rs-{number}", "web", kind="ReplicaSet"))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(10_000):
        reduced = reduce(pods, pod(number))
        assert reduced
        objects.put(reduced)
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(objects) == 10_101
    assert size < 10 * 2**20, f"{size / 2**20:.1f} MiB"


def pod(number: int) -> dict[str, Any]:
    name = f"web-{number:05d}-7d9f8b6c5d-abcde"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"00000000-0000-4000-8000-{number:012d}",
            "resourceVersion": str(1_000_000 + number),
            "creationTimestamp": f"2026-01-01T10:00:{number % 60:02d}Z",
            "labels": {"app": "web", "pod-template-hash": f"{number % 100}"},
            "ownerReferences": [{"uid": f"rs-{number % 100}", "kind": "ReplicaSet"}],
        },
        "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "web", "ready": True, "state": {"running": {}}}],
        },
    }
