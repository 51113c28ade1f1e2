"""The copies that make a canary or a baseline."""

import copy
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipecd.errors import ConfigError
from pipecd.platforms.kubernetes.config import KubernetesApp
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.variants import (
    Copies,
    count_replicas,
    make_baseline,
    make_canary,
    make_services,
    rename_references,
    variant_of,
)
from tests.platforms.kubernetes.stage_runner import config_map, deployment, service


def spec_of(**fields: Any) -> KubernetesApp:
    return KubernetesApp.model_validate({"name": "shop", **fields})


def secret(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"k": "dg=="}}


def canary(
    *bodies: Mapping[str, Any], create_service: bool = False, suffix: str = "", **fields: Any
) -> Copies:
    spec = spec_of(**fields)
    variant = variant_of(spec, "canary", suffix)
    manifests = [Manifest(body) for body in bodies]
    return make_canary(spec, manifests, variant, create_service=create_service, replicas=lambda _: 3)


@pytest.mark.parametrize(
    ("text", "current", "count"),
    [
        ("1", 9, 1),
        ("5", 2, 5),
        ("0", 9, 1),
        ("50%", 3, 2),
        ("1%", 10, 1),
        ("0%", 10, 1),
        ("150%", 4, 6),
        ("50%", 0, 1),
    ],
)
def test_replicas(text: str, current: int, count: int) -> None:
    assert count_replicas(text, current) == count


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_a_percentage_of_replicas_is_rounded_up(percent: int, current: int) -> None:
    assert count_replicas(f"{percent}%", current) == max(1, math.ceil(percent * current / 100))


def test_a_workload_is_copied_with_its_label_and_configuration() -> None:
    pod: dict[str, Any] = {
        "volumes": [
            {"name": "a", "configMap": {"name": "settings"}},
            {"name": "b", "secret": {"secretName": "keys"}},
            {
                "name": "c",
                "projected": {"sources": [{"configMap": {"name": "settings"}}, {"secret": {"name": "keys"}}]},
            },
            {"name": "d", "configMap": {"name": "of-others"}},
        ],
        "imagePullSecrets": [{"name": "keys"}, {"name": "of-others"}],
        "unknownField": {"configMap": {"name": "settings"}},
    }
    body = deployment("web", **pod)
    container = body["spec"]["template"]["spec"]["containers"][0]
    container |= {
        "env": [
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "a"}}},
        ],
        "envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "keys"}}],
    }
    body["spec"]["template"]["spec"]["initContainers"] = [copy.deepcopy(container)]
    body["spec"]["unknownField"] = {"kept": True}
    before = copy.deepcopy(body)
    made = canary(body, config_map("settings", {"a": "1"}), secret("keys"))
    assert body == before
    assert [str(found) for found in made.all] == [
        "ConfigMap settings-canary",
        "Secret keys-canary",
        "Deployment web-canary",
    ]
    workload = made.workloads[0].body
    assert workload["spec"]["replicas"] == 3 and workload["spec"]["unknownField"] == {"kept": True}
    labels = {"app": "web", "pipecd.dev/variant": "canary"}
    assert workload["spec"]["selector"] == {"matchLabels": labels}
    assert workload["spec"]["template"]["metadata"]["labels"] == labels
    spec = workload["spec"]["template"]["spec"]
    assert spec["volumes"] == [
        {"name": "a", "configMap": {"name": "settings-canary"}},
        {"name": "b", "secret": {"secretName": "keys-canary"}},
        {
            "name": "c",
            "projected": {
                "sources": [{"configMap": {"name": "settings-canary"}}, {"secret": {"name": "keys-canary"}}]
            },
        },
        {"name": "d", "configMap": {"name": "of-others"}},
    ]
    assert spec["imagePullSecrets"] == [{"name": "keys-canary"}, {"name": "of-others"}]
    assert spec["unknownField"] == {"configMap": {"name": "settings"}}
    for changed in (spec["containers"][0], spec["initContainers"][0]):
        assert changed["env"][0]["valueFrom"]["configMapKeyRef"]["name"] == "settings-canary"
        assert changed["env"][1]["valueFrom"]["secretKeyRef"]["name"] == "keys-canary"
        assert changed["envFrom"] == [
            {"configMapRef": {"name": "settings-canary"}},
            {"secretRef": {"name": "keys-canary"}},
        ]


def test_configuration_of_another_namespace_is_not_referred_to() -> None:
    body = deployment("web", volumes=[{"name": "a", "configMap": {"name": "settings"}}])
    other = config_map("settings")
    other["metadata"]["namespace"] = "other"
    made = canary(body, other)
    assert made.workloads[0].pod_template["spec"]["volumes"][0]["configMap"]["name"] == "settings"
    same = config_map("settings")
    same["metadata"]["namespace"] = "shop"
    made = canary(body, same, input={"namespace": "shop"})
    assert made.workloads[0].pod_template["spec"]["volumes"][0]["configMap"]["name"] == "settings-canary"


def test_a_baseline_uses_the_configuration_of_the_primary_variant() -> None:
    spec = spec_of()
    body = deployment("web", volumes=[{"name": "a", "configMap": {"name": "settings"}}])
    made = make_baseline(
        spec,
        [Manifest(body), Manifest(config_map("settings"))],
        variant_of(spec, "baseline"),
        create_service=False,
        replicas=lambda _: 1,
    )
    assert [str(found) for found in made.all] == ["Deployment web-baseline"]
    assert made.workloads[0].pod_template["spec"]["volumes"][0]["configMap"]["name"] == "settings"


def test_a_service_of_a_variant_has_nothing_that_only_one_service_can_have() -> None:
    body = service("web")
    body["spec"] |= {
        "type": "LoadBalancer",
        "clusterIP": "10.0.0.7",
        "clusterIPs": ["10.0.0.7"],
        "externalIPs": ["1.2.3.4"],
        "loadBalancerIP": "1.2.3.4",
        "loadBalancerSourceRanges": ["0.0.0.0/0"],
        "externalTrafficPolicy": "Local",
        "healthCheckNodePort": 30001,
        "sessionAffinity": "ClientIP",
        "ports": [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080}],
    }
    made = make_services([Manifest(body)], "", variant_of(spec_of(), "canary", "next"))
    assert made[0].body == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web-next"},
        "spec": {
            "type": "ClusterIP",
            "sessionAffinity": "ClientIP",
            "selector": {"app": "web", "pipecd.dev/variant": "canary"},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
        },
    }


def test_services_are_chosen_by_name_and_only_with_a_selector() -> None:
    external = {**service("db"), "spec": {"type": "ExternalName", "externalName": "db.example.com"}}
    manifests = [Manifest(body) for body in (external, service("web"), service("api"))]
    variant = variant_of(spec_of(), "canary")
    assert [made.name for made in make_services(manifests, "", variant)] == ["web-canary", "api-canary"]
    assert [made.name for made in make_services(manifests, "api", variant)] == ["api-canary"]
    for name in ("db", "none"):
        with pytest.raises(ConfigError, match=f"no service {name} with a selector"):
            make_services(manifests, name, variant)


def test_workloads_are_chosen_by_kind_and_name() -> None:
    stateful = {**deployment("db"), "kind": "StatefulSet"}
    stateful["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}}]
    daemon = {**deployment("log"), "kind": "DaemonSet"}
    del daemon["spec"]["replicas"]
    custom = {**deployment("set"), "apiVersion": "apps.kruise.io/v1alpha1", "kind": "CloneSet"}
    bodies = (deployment("web"), deployment("api"), stateful, daemon, custom)
    assert [found.name for found in canary(*bodies).workloads] == ["web-canary", "api-canary"]
    named = [{"name": "api"}, {"kind": "StatefulSet"}, {"kind": "DaemonSet"}, {"kind": "CloneSet"}]
    api, db, log, clones = canary(*bodies, workloads=named).workloads
    assert [found.name for found in (api, db, log, clones)] == [
        "api-canary",
        "db-canary",
        "log-canary",
        "set-canary",
    ]
    assert "replicas" not in log.spec and clones.spec["replicas"] == 3
    # Nothing is left of a variant that is deleted.
    assert db.spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete"


@pytest.mark.parametrize(
    ("bodies", "fields", "message"),
    [
        ([config_map("a")], {}, "no workload that can have variants"),
        ([{**deployment("a"), "kind": "Job"}], {"workloads": [{"kind": "Job"}]}, "because it runs once"),
        ([config_map("a")], {"workloads": [{"kind": "ConfigMap"}]}, "it has no pod template"),
        (
            [{**deployment("a"), "kind": "Rollout"}],
            {"workloads": [{"kind": "Rollout"}]},
            "its own controller",
        ),
        ([deployment("a"), deployment("a-canary")], {}, "a-canary is in Git, and would be the canary"),
    ],
)
def test_what_cannot_have_a_canary_is_refused(bodies: Any, fields: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        canary(*bodies, **fields)


def test_a_canary_is_never_created_again_to_change_it() -> None:
    body = deployment("web")
    body["metadata"]["annotations"] = {"pipecd.dev/force-sync-by-replace": "enabled", "team": "a"}
    assert canary(body).workloads[0].annotations == {"team": "a"}


NAMES = st.sampled_from(["a", "b", "c"])
REFERRING = st.fixed_dictionaries(
    {},
    optional={
        "volumes": st.lists(
            NAMES.map(lambda name: {"name": "v", "configMap": {"name": name, "items": []}})
            | NAMES.map(lambda name: {"name": "v", "secret": {"secretName": name}}),
            max_size=3,
        ),
        "imagePullSecrets": st.lists(st.fixed_dictionaries({"name": NAMES}), max_size=2),
        "other": NAMES,
    },
)


@given(REFERRING, st.sets(st.tuples(st.sampled_from(["ConfigMap", "Secret"]), NAMES)))
def test_renaming_references_and_back_changes_nothing(pod: Any, names: Any) -> None:
    renamed = rename_references(pod, names, lambda name: f"{name}-canary")
    back = {(kind, f"{name}-canary") for kind, name in names}
    assert rename_references(renamed, back, lambda name: name.removesuffix("-canary")) == pod
    if not names:
        assert renamed == pod
