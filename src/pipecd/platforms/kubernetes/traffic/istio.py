"""The method `istio`: weights of a VirtualService between the subsets of the service.

Only HTTP routes with a destination of our host are changed, and of those only these destinations: matches,
headers, retries, mirrors and destinations of others stay, as do TCP and TLS routes.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from pipecd.platforms.kubernetes.config import Istio, KubernetesApp
from pipecd.platforms.kubernetes.manifest import DEFAULT_NAMESPACE, Manifest
from pipecd.platforms.kubernetes.traffic.routed import MATCH_RULE, Headers, Routed, Shares
from pipecd.platforms.kubernetes.variants import BASELINE, CANARY, PRIMARY

GROUP = "networking.istio.io"
Route = Mapping[str, Any]


def find(spec: KubernetesApp, manifests: Sequence[Manifest]) -> Sequence[Manifest]:
    name = _settings(spec).virtual_service.name
    return [
        found
        for found in manifests
        if (found.group, found.kind) == (GROUP, "VirtualService") and name in ("", found.name)
    ]


def host_of(routed: Routed) -> str:
    return _settings(routed.spec).host or routed.service


def _settings(spec: KubernetesApp) -> Istio:
    return spec.traffic_routing.istio or Istio()


def qualified(host: str, namespace: str) -> str:
    """The one form of `web`, `web.shop`, `web.shop.svc` and `web.shop.svc.cluster.local`, in `namespace`.

    Names of other services, such as `example.com`, are the same in both forms, too.
    """
    parts = host.rstrip(".").split(".")
    if len(parts) == 1:
        return f"{parts[0]}.{namespace}"
    if len(parts) == 2 or parts[2] == "svc":
        return ".".join(parts[:2])
    return host


def subsets(routed: Routed, rules: Sequence[Mapping[str, Any]]) -> Mapping[str, Mapping[str, str]]:
    """The subsets of the service by name, with the labels of their pods, of these DestinationRules."""
    host = qualified(host_of(routed), routed.namespace)
    found: dict[str, Mapping[str, str]] = {}
    for rule in rules:
        spec = rule.get("spec") or {}
        namespace = rule["metadata"].get("namespace") or DEFAULT_NAMESPACE
        if qualified(str(spec.get("host", "")), namespace) == host:
            found |= {str(item.get("name")): item.get("labels") or {} for item in spec.get("subsets") or ()}
    return found


def route(routed: Routed, shares: Shares, headers: Headers) -> Manifest:
    routes: list[Any] = []
    for found in _http(routed.manifest):
        if not _is_editable(routed, found):
            routes.append(found)
            continue
        if headers:
            routes.append(_canary_rule(routed, found, headers))
        routes.append({**found, "route": _destinations(routed, found, shares)})
    spec = {**routed.manifest.spec, "http": routes}
    return Manifest({**routed.manifest.body, "spec": spec}, routed.manifest.place)


def receiving(routed: Routed, live: Manifest) -> Set[str]:
    names = {variant.label[1]: name for name, variant in routed.variants.items()}
    variants = set()
    for found in _http(live):
        for destination in _ours(routed, found):
            # Without a subset, it goes to the pods of the service, whose selector decides.
            subset = str(destination["destination"].get("subset") or "")
            if _weight(destination, found["route"]) > 0:
                variants.add(names.get(subset, PRIMARY))
    return variants


def _http(manifest: Manifest) -> Sequence[Any]:
    routes = manifest.spec.get("http")
    return routes if isinstance(routes, list) else ()


def _is_editable(routed: Routed, found: Any) -> bool:
    if not isinstance(found, Mapping) or not any(_ours(routed, found)):
        return False
    names = _settings(routed.spec).editable_routes
    return not names or found.get("name") in names


def _ours(routed: Routed, found: Any) -> Iterator[Route]:
    """The destinations of a route that are the service."""
    destinations = found.get("route") if isinstance(found, Mapping) else None
    host = qualified(host_of(routed), routed.namespace)
    for destination in destinations if isinstance(destinations, list) else ():
        target = destination.get("destination") if isinstance(destination, Mapping) else None
        name = target.get("host") if isinstance(target, Mapping) else None
        if isinstance(name, str) and qualified(name, routed.namespace) == host:
            yield destination


def _weight(destination: Route, destinations: Sequence[Any]) -> int:
    """A single destination gets everything."""
    if len(destinations) == 1:
        return 100
    weight = destination.get("weight")
    return weight if isinstance(weight, int) else 0


def _destinations(routed: Routed, found: Route, shares: Shares) -> list[Any]:
    """PipeCD's order and rounding: the primary variant gets the rest."""
    ours = list(_ours(routed, found))
    others = [destination for destination in found["route"] if destination not in ours]
    total = max(0, 100 - sum(_weight(destination, found["route"]) for destination in others))
    weights = {name: shares[name] * total // 100 for name in (CANARY, BASELINE)}
    weights = {PRIMARY: total - sum(weights.values()), **weights}
    return [
        *(
            _destination(routed, ours, name, weight)
            for name, weight in weights.items()
            if weight or name == PRIMARY
        ),
        *others,
    ]


def _destination(routed: Routed, ours: Sequence[Route], name: str, weight: int) -> dict[str, Any]:
    """As the variant's own destination in Git, or the primary's."""
    subsets = [routed.variants[variant].label[1] for variant in (name, PRIMARY)]
    template = next(
        (
            destination
            for subset in subsets
            for destination in ours
            if destination["destination"].get("subset") == subset
        ),
        ours[0],
    )
    return {**template, "destination": {**template["destination"], "subset": subsets[0]}, "weight": weight}


def _canary_rule(routed: Routed, found: Route, headers: Headers) -> dict[str, Any]:
    """A copy of the route for requests with the headers, which goes before it."""
    exact = {name: {"exact": value} for name, value in headers.items()}
    matches = found.get("match") or [{}]
    return {
        **found,
        "name": MATCH_RULE,
        "match": [{**match, "headers": {**(match.get("headers") or {}), **exact}} for match in matches],
        "route": [_destination(routed, list(_ours(routed, found)), CANARY, 100)],
    }
