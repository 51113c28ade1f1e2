"""How the methods of traffic routing change their manifest."""

import contextlib
import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipecd.errors import ConfigError
from pipecd.platforms.kubernetes.config import KubernetesApp
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.shapes import check_shapes
from pipecd.platforms.kubernetes.traffic import ALL_PRIMARY, Routing, find_routing
from pipecd.platforms.kubernetes.traffic.gateway import pending
from pipecd.platforms.kubernetes.traffic.istio import qualified
from pipecd.platforms.kubernetes.variants import make_canary, variant_of
from tests.platforms.kubernetes.stage_runner import deployment, service


def routing(method: str, *bodies: Mapping[str, Any], **fields: Any) -> Routing:
    settings = {"method": method, **fields.pop("routing", {})}
    spec = KubernetesApp.model_validate(
        {"name": "shop", "service": {"name": "web"}, "trafficRouting": settings, **fields}
    )
    return find_routing(spec, [Manifest(body) for body in (service("web"), *bodies)])


def shares(canary: int = 0, baseline: int = 0) -> dict[str, int]:
    return {"primary": 100 - canary - baseline, "canary": canary, "baseline": baseline}


SHARES = st.tuples(st.integers(0, 100), st.integers(0, 100)).filter(lambda pair: sum(pair) <= 100)


def virtual_service(*routes: Any, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "web"},
        "spec": {"hosts": ["web"], "http": list(routes), **spec},
    }


def to(host: str, weight: int | None = None, subset: str = "", **fields: Any) -> dict[str, Any]:
    target = {"host": host, **({"subset": subset} if subset else {})}
    return {"destination": target, **({} if weight is None else {"weight": weight}), **fields}


def http_route(*rules: Any, kind: str = "HTTPRoute", name: str = "web", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, **metadata},
        "spec": {"parentRefs": [{"name": "gw"}], "rules": list(rules)},
    }


def ref(name: str, weight: int | None = None, **fields: Any) -> dict[str, Any]:
    return {"name": name, "port": 80, **({} if weight is None else {"weight": weight}), **fields}


def traffic_split(*backends: tuple[str, int]) -> dict[str, Any]:
    return {
        "apiVersion": "split.smi-spec.io/v1alpha2",
        "kind": "TrafficSplit",
        "metadata": {"name": "web"},
        "spec": {
            "service": "web",
            "backends": [{"service": name, "weight": weight} for name, weight in backends],
        },
    }


def weights(destinations: Any) -> list[tuple[str, int]]:
    return [
        (item["destination"].get("subset") or item["destination"]["host"], item["weight"])
        if "destination" in item
        else (item.get("name") or item["service"], item.get("weight"))
        for item in destinations
    ]


# The selector of a Service.


def test_a_selector_chooses_one_variant() -> None:
    found = routing("podselector")
    assert found.route(ALL_PRIMARY).body == service("web")
    changed = found.route(shares(100))
    assert changed.body["spec"] == {
        "selector": {"app": "web", "pipecd.dev/variant": "canary"},
        "ports": [{"port": 80}],
    }
    assert found.receiving(changed) == {"canary"}
    assert found.receiving(found.manifest) == {"primary", "canary", "baseline"}
    assert found.receiving(Manifest(service("web", **{"pipecd.dev/variant": "primary"}))) == {"primary"}
    for other in (shares(20), shares(0, 100)):
        with pytest.raises(ConfigError, match="cannot split it"):
            found.route(other)


# Istio.


def test_only_destinations_of_the_host_are_changed() -> None:
    ours: dict[str, Any] = {
        "name": "main",
        "match": [{"uri": {"prefix": "/"}}],
        "retries": {"attempts": 3},
        "mirror": {"host": "shadow"},
        "futureField": 1,
        "route": [
            to("web", 60, "primary", headers={"response": {"set": {"x": "1"}}}),
            to("legacy", 40, headers={"request": {"set": {"y": "1"}}}),
        ],
    }
    other = {"name": "other", "route": [to("api")]}
    redirect = {"redirect": {"uri": "/new"}}
    body = virtual_service(other, redirect, ours, tcp=[{"route": [to("web")]}], exportTo=["."])
    before = copy.deepcopy(body)
    found = routing("istio", body)
    changed = found.route(shares(20, 10)).body["spec"]
    assert body == before
    assert changed["http"][:2] == [other, redirect]
    assert changed["tcp"] == before["spec"]["tcp"] and changed["exportTo"] == ["."]
    route = changed["http"][2]
    assert weights(route["route"]) == [("primary", 42), ("canary", 12), ("baseline", 6), ("legacy", 40)]
    assert all(item["headers"] == {"response": {"set": {"x": "1"}}} for item in route["route"][:3])
    assert route["route"][3] == ours["route"][1]
    assert {**route, "route": ()} == {**ours, "route": ()}
    assert found.receiving(found.route(shares(20))) == {"primary", "canary"}
    assert found.receiving(found.route(shares(100))) == {"canary"}
    assert found.route(ALL_PRIMARY).body == before


def test_only_editable_routes_are_changed() -> None:
    body = virtual_service({"name": "a", "route": [to("web")]}, {"name": "b", "route": [to("web")]})
    found = routing("istio", body, routing={"istio": {"host": "web", "editableRoutes": ["b"]}})
    first, second = found.route(shares(5)).body["spec"]["http"]
    assert first == body["spec"]["http"][0]
    assert weights(second["route"]) == [("primary", 95), ("canary", 5)]


@pytest.mark.parametrize(
    ("host", "written", "same"),
    [
        ("web", "web", True),
        ("web", "web.shop", True),
        ("web.shop", "web", True),
        ("web.shop.svc.cluster.local", "web", True),
        ("web", "web.shop.svc.cluster.local", True),
        ("web", "web.shop.svc", True),
        ("web", "web.other", False),
        ("web", "web.other.svc.cluster.local", False),
        ("web", "web.example.com", False),
        ("web.example.com", "web.example.com", True),
    ],
)
def test_forms_of_one_host_are_the_same(host: str, written: str, same: bool) -> None:
    assert (qualified(host, "shop") == qualified(written, "shop")) == same
    body = virtual_service({"route": [to(written)]})
    found = routing("istio", body, routing={"istio": {"host": host}}, input={"namespace": "shop"})
    changed = found.route(shares(10)).body["spec"]["http"][0]["route"]
    assert (changed != body["spec"]["http"][0]["route"]) == same


def test_testers_alone_get_the_canary_by_a_header() -> None:
    ours = {"name": "main", "match": [{"uri": {"prefix": "/"}}, {"port": 81}], "route": [to("web")]}
    first = {"match": [{"uri": {"prefix": "/admin"}}], "route": [to("admin")]}
    found = routing("istio", virtual_service(first, ours))
    kept, rule, main = found.route(ALL_PRIMARY, {"x-canary": "yes"}).body["spec"]["http"]
    assert kept == first
    exact = {"headers": {"x-canary": {"exact": "yes"}}}
    assert rule == {
        "name": "pipecd-canary",
        "match": [{"uri": {"prefix": "/"}, **exact}, {"port": 81, **exact}],
        "route": [to("web", 100, "canary")],
    }
    assert weights(main["route"]) == [("primary", 100)]
    assert found.receiving(found.route(ALL_PRIMARY, {"x-canary": "yes"})) == {"primary", "canary"}


@given(SHARES, st.integers(0, 100))
def test_istio_weights_sum_to_100(pair: tuple[int, int], other: int) -> None:
    body = virtual_service({"route": [to("web", 100 - other, "primary"), to("legacy", other)]})
    changed = routing("istio", body).route(shares(*pair)).body["spec"]["http"][0]["route"]
    assert sum(item["weight"] for item in changed) == 100
    assert [item for item in changed if item["destination"]["host"] == "legacy"] == [to("legacy", other)]


# The Gateway API.


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
def test_weights_of_a_route_are_set_among_our_services(kind: str) -> None:
    ours = {
        "name": "main",
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "filters": [{"type": "RequestMirror"}],
        "futureField": 1,
        "backendRefs": [ref("web", filters=[{"type": "RequestHeaderModifier"}])],
    }
    other = {"backendRefs": [ref("api", 7)]}
    elsewhere = {"backendRefs": [ref("web", namespace="other"), ref("web", kind="Bucket", group="s3")]}
    body = http_route(other, ours, elsewhere, kind=kind)
    before = copy.deepcopy(body)
    found = routing("gateway", body)
    assert found.route(ALL_PRIMARY).body == before
    changed = found.route(shares(20)).body["spec"]["rules"]
    assert body == before
    assert (changed[0], changed[2]) == (other, elsewhere)
    assert changed[1] == {
        **ours,
        "backendRefs": [
            ref("web", 80, filters=[{"type": "RequestHeaderModifier"}]),
            ref("web-canary", 20, filters=[{"type": "RequestHeaderModifier"}]),
        ],
    }
    assert found.receiving(found.route(shares(20))) == {"primary", "canary"}
    assert found.receiving(found.route(shares(100))) == {"canary"}
    assert found.receiving(found.manifest) == {"primary"}


def test_backends_of_others_keep_their_part() -> None:
    """Also next to a canary that is listed in Git, which stays listed."""
    rule = {"backendRefs": [ref("web", 3), ref("web-canary", 0), ref("legacy", 1)]}
    found = routing("gateway", http_route(rule))
    changed = found.route(shares(20)).body["spec"]["rules"][0]["backendRefs"]
    assert weights(changed) == [("web", 12), ("web-canary", 3), ("legacy", 5)]
    assert weights(found.route(shares(0, 50)).body["spec"]["rules"][0]["backendRefs"]) == [
        ("web", 3),
        ("web-canary", 0),
        ("web-baseline", 3),
        ("legacy", 2),
    ]


@given(SHARES, st.lists(st.integers(0, 1000), max_size=3), st.integers(1, 1000))
def test_shares_of_a_route_are_exact(pair: tuple[int, int], others: list[int], own: int) -> None:
    backends = [ref("web", own), *(ref(f"other{index}", weight) for index, weight in enumerate(others))]
    found = routing("gateway", http_route({"backendRefs": backends}))
    split = shares(*pair)
    changed = dict(weights(found.route(split).body["spec"]["rules"][0]["backendRefs"]))
    before, after = sum(weights_of(backends)), sum(changed.values())
    for index, weight in enumerate(others):
        assert changed[f"other{index}"] * before == weight * after
    for name, share in split.items():
        service_name = "web" if name == "primary" else f"web-{name}"
        assert changed.get(service_name, 0) * before * 100 == share * own * after


def weights_of(backends: Any) -> list[int]:
    return [backend["weight"] for backend in backends]


def test_only_editable_rules_are_changed() -> None:
    rules = [{"name": name, "backendRefs": [ref("web")]} for name in ("a", "b")]
    found = routing("gateway", http_route(*rules), routing={"gateway": {"editableRules": ["b"]}})
    first, second = found.route(shares(5)).body["spec"]["rules"]
    assert first == rules[0]
    assert weights(second["backendRefs"]) == [("web", 95), ("web-canary", 5)]


def test_a_route_is_found_by_its_service_or_its_name() -> None:
    other = http_route({"backendRefs": [ref("api")]}, name="api")
    mine = http_route({"backendRefs": [ref("web")]}, name="mine", kind="GRPCRoute")
    assert routing("gateway", other, mine).manifest.name == "mine"
    named = {"gateway": {"route": {"kind": "HTTPRoute", "name": "api"}}}
    assert routing("gateway", other, mine, routing=named).manifest.name == "api"
    with pytest.raises(ConfigError, match="no HTTPRoute or GRPCRoute that routes its traffic"):
        routing("gateway", other)


def test_the_primary_service_that_a_stage_created_is_the_stable_one() -> None:
    found = routing("gateway", http_route({"backendRefs": [ref("web-primary")]}))
    changed = found.route(shares(30)).body["spec"]["rules"][0]["backendRefs"]
    assert weights(changed) == [("web-primary", 70), ("web-canary", 30)]


def test_a_service_that_a_rule_lists_twice_is_refused() -> None:
    found = routing("gateway", http_route({"backendRefs": [ref("web"), ref("web", port=81)]}))
    with pytest.raises(ConfigError, match="lists the service web twice"):
        found.route(shares(30))


def test_testers_alone_get_the_canary_by_a_header_of_a_route() -> None:
    rule = {
        "matches": [{"path": {"value": "/"}, "headers": [{"name": "a", "value": "b"}]}],
        "backendRefs": [ref("web")],
    }
    found = routing("gateway", http_route(rule, {"name": "second", "backendRefs": [ref("web")]}))
    rules = found.route(ALL_PRIMARY, {"x-canary": "yes"}).body["spec"]["rules"]
    assert [item.get("name") for item in rules] == ["pipecd-canary", None, "pipecd-canary-2", "second"]
    exact = {"type": "Exact", "name": "x-canary", "value": "yes"}
    assert rules[0]["matches"] == [{"path": {"value": "/"}, "headers": [{"name": "a", "value": "b"}, exact]}]
    assert rules[2]["matches"] == [{"headers": [exact]}]
    assert weights(rules[0]["backendRefs"]) == [("web-canary", 100)]
    assert weights(rules[1]["backendRefs"]) == [("web", 100)]


@pytest.mark.parametrize(
    ("parents", "reason"),
    [
        ([], "no Gateway has accepted it yet"),
        ([("True", "True", 3)], ""),
        ([("True", "True", 2)], "the Gateway gw has not read it yet"),
        ([("True", "False", 3)], "the Gateway gw: BackendNotFound: no web-canary"),
        ([("True", "True", 3), ("False", "True", 3)], "the Gateway gw: BackendNotFound: no web-canary"),
    ],
)
def test_a_route_is_effective_when_its_gateways_have_accepted_it(parents: Any, reason: str) -> None:
    body = http_route({"backendRefs": [ref("web")]}, generation=3)
    body["status"] = {
        "parents": [
            {
                "parentRef": {"name": "gw"},
                "conditions": [
                    {
                        "type": kind,
                        "status": status,
                        "observedGeneration": generation,
                        "reason": "BackendNotFound",
                        "message": "no web-canary",
                    }
                    for kind, status in (("Accepted", accepted), ("ResolvedRefs", resolved))
                ],
            }
            for accepted, resolved, generation in parents
        ]
    }
    assert pending(Manifest(body)) == reason


# SMI.


def test_weights_of_a_traffic_split() -> None:
    found = routing("smi", traffic_split(("web-primary", 100), ("legacy", 0)))
    changed = found.route(shares(25))
    assert weights(changed.body["spec"]["backends"]) == [
        ("web-primary", 75),
        ("web-canary", 25),
        ("legacy", 0),
    ]
    assert found.receiving(changed) == {"primary", "canary"}
    texts = traffic_split(("web", 1))
    texts["spec"]["backends"][0]["weight"] = "900m"
    with pytest.raises(ConfigError, match="are texts"):
        routing("smi", texts).route(shares(25))


# Manifests of any shape.

_FUNCTIONS: dict[str, Any] = {
    "podselector": service("web"),
    "istio": virtual_service(
        {
            "name": "a",
            "match": [{"uri": {"prefix": "/"}, "headers": {}}],
            "route": [to("web", 60), to("b", 40)],
        }
    ),
    "gateway": http_route({"matches": [{"headers": []}], "backendRefs": [ref("web", 3), ref("b", 1)]}),
    "smi": traffic_split(("web", 3), ("b", 1)),
}
_ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, 1.5, -3, "x", "", [], [None], ["x"], {}, {"name": 1}, [[{}]], {"x": [None]}]
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in items for found in paths(item, (*path, key)))]


@pytest.mark.parametrize("method", _FUNCTIONS)
@given(st.data())
def test_a_manifest_with_fields_of_other_types_is_a_configuration_error(method: str, data: Any) -> None:
    bodies = [copy.deepcopy(body) for body in (_FUNCTIONS[method], service("web"), deployment("web"))]
    changed = data.draw(st.sampled_from(bodies))
    path = data.draw(st.sampled_from(paths(changed["spec"], ("spec",))))
    at: Any = changed
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = data.draw(_ODD)
    spec = KubernetesApp.model_validate(
        {
            "name": "shop",
            "service": {"name": "web"},
            "trafficRouting": {"method": method},
            "pipeline": {"stages": [{"name": "K8S_TRAFFIC_ROUTING"}]},
        }
    )
    manifests = [Manifest(body) for body in bodies]
    variant = variant_of(spec, "canary")
    with contextlib.suppress(ConfigError):
        check_shapes(manifests)
        make_canary(spec, manifests, variant, create_service=True, replicas=lambda _: 1)
        found = find_routing(spec, manifests)
        found.receiving(found.manifest)
        headers = {} if method in ("podselector", "smi") else {"x": "y"}
        found.receiving(found.route(shares(100 if method == "podselector" else 30), headers))
