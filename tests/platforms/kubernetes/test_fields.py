"""Fields of live objects: who set them, and which a sync leaves."""

from collections.abc import Mapping
from typing import Any

import pytest

from pipecd.model.drift import parse_path
from pipecd.platforms.kubernetes import field_owners
from pipecd.platforms.kubernetes.field_rules import with_live_values

PORT = 'k:{"port":80,"protocol":"TCP"}'


def entry(manager: str, fields: Mapping[str, Any], operation: str = "Update", **more: Any) -> dict[str, Any]:
    time = f"2026-01-0{len(manager) % 9 + 1}T00:00:00Z"
    return {"manager": manager, "operation": operation, "time": time, "fieldsV1": fields, **more}


def live(*entries: Mapping[str, Any], **body: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web", "managedFields": list(entries)}, **body}


OURS = entry("pipecd", {"f:spec": {"f:a": {}, "f:ports": {".": {}, PORT: {".": {}, "f:port": {}}}}}, "Apply")


@pytest.mark.parametrize(
    ("manager", "operation", "subresource", "interactive"),
    [
        ("kubectl-edit", "Update", "", True),
        ("kubectl-label", "Update", "", True),
        ("kubectl-annotate", "Update", "", True),
        ("kubectl-client-side-apply", "Update", "", True),
        ("kubectl", "Apply", "", True),
        ("kubectl", "Update", "scale", True),
        ("kubectl", "Update", "status", False),
        ("node-fetch", "Update", "", True),
        ("Mozilla", "Update", "", True),
        ("OpenAPI-Generator", "Update", "", True),
        ("python-requests", "Update", "", True),
        ("some-script", "Update", "", True),
        ("some-script", "Apply", "", False),
        ("some-script", "Update", "status", False),
        ("kube-controller-manager", "Update", "", False),
        ("cert-manager-cainjector", "Update", "", False),
        ("keda", "Update", "", False),
        ("Reloader", "Update", "", False),
        ("istio-pilot", "Update", "", False),
        ("helm", "Update", "", False),
        ("argocd-controller", "Apply", "", False),
        ("pipecd", "Apply", "", False),
    ],
)
def test_people_are_told_from_controllers(
    manager: str, operation: str, subresource: str, interactive: bool
) -> None:
    found = entry(manager, {}, operation, subresource=subresource)
    assert field_owners.is_interactive(found) is interactive


def test_fields_that_only_people_set_are_added() -> None:
    person = entry(
        "kubectl-edit",
        {
            "f:metadata": {
                "f:annotations": {"f:note.example/x": {}, "f:pipecd.dev/order": {}},
                "f:managedFields": {},
            },
            "f:spec": {
                "f:a": {},
                "f:b": {},
                "f:c": {},
                "f:ports": {PORT: {"f:nodePort": {}}, 'k:{"port":81}': {".": {}, "f:port": {}}},
            },
            "f:status": {"f:x": {}},
        },
    )
    controller = entry("replicaset-controller", {"f:spec": {"f:c": {}}})
    added = field_owners.added_by_people(live(OURS, controller, person))
    assert [field_owners.describe(field) for field, _ in added] == [
        'metadata.annotations["note.example/x"]',
        "spec.b",
        "spec.ports[port=80,protocol=TCP].nodePort",
        "spec.ports[port=81].port",
    ]
    assert {str(owner) for _, owner in added} == {f"kubectl-edit at {person['time']}"}
    assert not field_owners.added_by_people(live(person)), "what an object of others has is not added"


def test_a_hostile_record_of_managers_is_read() -> None:
    deep: dict[str, Any] = {}
    for _ in range(900):
        deep = {"f:x": deep}
    hostile = [
        entry("kubectl-edit", deep),
        entry("k" * 10_000, {"k:not json": {}, "v:[": {}, "": {}, "f:spec": None}),
        {"manager": None, "fieldsV1": "text"},
    ]
    added = field_owners.added_by_people(live(OURS, *hostile))
    texts = [field_owners.describe(field) + str(owner) for field, owner in added]
    assert len(texts) >= 3 and max(map(len, texts)) < 500
    assert field_owners.without({"x": 1}, [field for field, _ in added])


def test_added_fields_are_removed_from_a_tree() -> None:
    tree = {"spec": {"a": 1, "b": 2, "set": ["x", "y"], "ports": [{"port": 80, "n": 1}, {"port": 81}]}}
    fields = [
        ("f:spec", "f:b"),
        ("f:spec", "f:set", 'v:"x"'),
        ("f:spec", "f:ports", 'k:{"port":80}', "f:n"),
        ("f:spec", "f:ports", 'k:{"port":81}', "f:port"),
        ("f:spec", "f:none", "f:x"),
        ("f:spec", "f:ports", "i:7"),
    ]
    assert field_owners.without(tree, fields) == {"spec": {"a": 1, "set": ["y"], "ports": [{"port": 80}]}}
    assert field_owners.path_of(fields[2], tree) == ("spec", "ports", "0", "n")


def test_who_changed_what_a_sync_would_change() -> None:
    person = entry("kubectl-edit", {"f:spec": {"f:a": {}, "f:b": {}}})
    without_a = entry("kubectl-edit", {"f:spec": {"f:b": {}}})
    status = entry("kubelet", {"f:status": {}}, subresource="status")
    before, after = live(OURS, person, status), live(OURS, without_a, status)
    assert [owner.manager for owner in field_owners.takes_from(before, after, differ=True)] == [
        "kubectl-edit"
    ]
    # Of a removed field, the last one who changed the object.
    last = field_owners.takes_from(before, before, differ=True)
    assert [owner.manager for owner in last] == ["kubectl-edit"]
    assert not field_owners.takes_from(before, before, differ=False), "nothing would be changed"
    assert not field_owners.takes_from(live(OURS), live(OURS), differ=True)


SPEC = {"replicas": 2, "list": [{"name": "a", "v": 1}, {"name": "b", "v": 1}], "args": ["x", "y"]}
LIVE = {
    "replicas": 5,
    "list": [{"name": "b", "v": 7}, {"name": "c", "v": 7}, {"name": "a", "v": 7}],
    "args": ["x", "z"],
    "was": {"ours": 1, "theirs": 1},
}


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("spec.replicas", {"replicas": 5}),
        ("/spec/replicas", {"replicas": 5}),
        ("spec.list.a.v", {"list": [{"name": "a", "v": 7}, {"name": "b", "v": 1}]}),
        ("spec.list.1.v", {"list": [{"name": "a", "v": 1}, {"name": "b", "v": 7}]}),
        ("/spec/list/*/v", {"list": [{"name": "a", "v": 7}, {"name": "b", "v": 7}]}),
        ("spec.list.b", {"list": [{"name": "a", "v": 1}, {"name": "b", "v": 7}]}),
        ("spec.args.1", {"args": ["x", "z"]}),
        ("spec.args", {"args": ["x", "z"]}),
        # Applied earlier, and no longer in Git: it would be removed otherwise.
        ("spec.was.ours", {"was": {"ours": 1}}),
        # Set by others only: it stays without us.
        ("spec.was.theirs", {}),
        ("spec.none", {}),
        ("spec.list.c", {}),
        ("metadata", {}),
        ("kind", {}),
    ],
)
def test_a_sync_sends_the_live_value_of_an_ignored_field(path: str, changed: Mapping[str, Any]) -> None:
    ours = entry("pipecd", {"f:spec": {"f:was": {"f:ours": {}}}}, "Apply")
    body = {"kind": "Web", "metadata": {"name": "web"}, "spec": SPEC}
    found = with_live_values(body, live(ours, spec=LIVE, kind="Other"), [parse_path(path)])
    assert found["spec"] == {**SPEC, **changed}
    assert (found["kind"], found["metadata"]["name"]) == ("Web", "web")


def test_an_item_removed_from_an_ignored_list_is_not_added_again() -> None:
    body = {"metadata": {"name": "web"}, "spec": SPEC}
    found = with_live_values(body, live(spec={"list": [{"name": "b", "v": 1}]}), [("spec", "list", "a")])
    assert found["spec"]["list"] == [{"name": "b", "v": 1}]
