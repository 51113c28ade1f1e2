"""The method `gateway`: weights of an HTTPRoute or GRPCRoute between the services of the variants.

Only rules that send traffic to the application's service are changed, and of those only the weights of its
variants. Filters, matches, names of rules and the shares of other backends stay.
"""

from collections.abc import Mapping, Sequence, Set
from typing import Any

from pipecd.platforms.kubernetes.config import Gateway, KubernetesApp
from pipecd.platforms.kubernetes.health.kinds import route_state
from pipecd.platforms.kubernetes.health.states import Broken, Waiting
from pipecd.platforms.kubernetes.manifest import DEFAULT_NAMESPACE, Manifest
from pipecd.platforms.kubernetes.traffic.backends import (
    Backend,
    split,
    stable_name,
    variant_names,
    weight_of,
)
from pipecd.platforms.kubernetes.traffic.routed import MATCH_RULE, Headers, Routed, Shares
from pipecd.platforms.kubernetes.variants import CANARY

GROUP = "gateway.networking.k8s.io"
KINDS = ("HTTPRoute", "GRPCRoute")


def _settings(spec: KubernetesApp) -> Gateway:
    return spec.traffic_routing.gateway or Gateway()


def find(spec: KubernetesApp, manifests: Sequence[Manifest]) -> Sequence[Manifest]:
    wanted = _settings(spec).route
    found = [
        manifest
        for manifest in manifests
        if manifest.group == GROUP
        and manifest.kind in ((wanted.kind,) if wanted.kind else KINDS)
        and wanted.name in ("", manifest.name)
    ]
    service = spec.service.name
    names = {service, f"{service}-{spec.variant_label.primary_value}"}
    if wanted.name or not service:
        return found
    return [route for route in found if any(_names(route, rule) & names for rule in _rules(route))]


def route(routed: Routed, shares: Shares, headers: Headers) -> Manifest:
    rules: list[Any] = []
    editable = _settings(routed.spec).editable_rules
    for rule in _rules(routed.manifest):
        backends = _backends(rule)
        if not stable_name(routed, list(_names(routed.manifest, rule))) or (
            editable and rule.get("name") not in editable
        ):
            rules.append(rule)
            continue
        changed = split(
            routed,
            backends,
            shares,
            name_of=lambda backend: _name(routed.manifest, backend),
            rename=lambda backend, name: {**backend, "name": name},
            place=routed.manifest.place,
        )
        if headers:
            rules.append(_canary_rule(routed, rule, headers, len(rules)))
        rules.append({**rule, "backendRefs": changed})
    spec = {**routed.manifest.spec, "rules": rules}
    return Manifest({**routed.manifest.body, "spec": spec}, routed.manifest.place)


def receiving(routed: Routed, live: Manifest) -> Set[str]:
    found = set()
    for rule in _rules(live):
        stable = stable_name(routed, list(_names(live, rule))) or routed.service
        variants = variant_names(routed, stable)
        for backend in _backends(rule):
            name = _name(live, backend)
            if name in variants and weight_of(backend) > 0:
                found.add(variants[name])
    return found


def primary_service(routed: Routed) -> str:
    names = [stable_name(routed, list(_names(routed.manifest, rule))) for rule in _rules(routed.manifest)]
    return next(filter(None, names), routed.service)


def pending(live: Manifest) -> str:
    """Why a Gateway has not accepted the route, by its status; empty if all have."""
    match route_state(live.body):
        case Waiting(note):
            return note
        case Broken(reason):
            return reason
        case _:
            return ""


def _rules(manifest: Manifest) -> Sequence[Mapping[str, Any]]:
    rules = manifest.spec.get("rules")
    return [rule for rule in rules if isinstance(rule, Mapping)] if isinstance(rules, list) else ()


def _backends(rule: Mapping[str, Any]) -> Sequence[Backend]:
    backends = rule.get("backendRefs")
    return [found for found in backends if isinstance(found, Mapping)] if isinstance(backends, list) else ()


def _name(route: Manifest, backend: Backend) -> str:
    """Of a Service in the namespace of the route; empty for other backends."""
    namespace = backend.get("namespace") or route.namespace
    is_service = backend.get("kind", "Service") == "Service" and not backend.get("group")
    same = (namespace or DEFAULT_NAMESPACE) == (route.namespace or DEFAULT_NAMESPACE)
    return str(backend.get("name")) if is_service and same else ""


def _names(route: Manifest, rule: Mapping[str, Any]) -> Set[str]:
    return {_name(route, backend) for backend in _backends(rule)} - {""}


def _canary_rule(routed: Routed, rule: Mapping[str, Any], headers: Headers, index: int) -> dict[str, Any]:
    """A copy of the rule for requests with the headers. Its name must be unique in the route."""
    exact = [{"type": "Exact", "name": name, "value": value} for name, value in headers.items()]
    matches = rule.get("matches") or [{}]
    stable = stable_name(routed, list(_names(routed.manifest, rule)))
    canary = routed.variants[CANARY].rename(routed.service)
    by_name = {_name(routed.manifest, backend): backend for backend in _backends(rule)}
    backend = by_name.get(canary) or by_name[stable]
    return {
        **rule,
        "name": MATCH_RULE if index == 0 else f"{MATCH_RULE}-{index}",
        "matches": [{**match, "headers": [*(match.get("headers") or ()), *exact]} for match in matches],
        "backendRefs": [{**backend, "name": canary, "weight": 100}],
    }
