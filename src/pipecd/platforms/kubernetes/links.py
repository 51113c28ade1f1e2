"""Other objects that one refers to, besides its owners: what it selects, scales or sends traffic to."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from pipecd.platforms.kubernetes.cluster.api import Object
from pipecd.platforms.kubernetes.cluster.seen import Kind, Reference, Selector
from pipecd.platforms.kubernetes.health.fields import mapping, mappings

#: Of one object.
MAX_LINKS = 64
MAX_LABELS = 100
_GATEWAY = "gateway.networking.k8s.io"
_PODS = frozenset({("", "Pod")})
#: Objects that create pods and are the top of their tree.
_WORKLOADS = frozenset({("apps", "Deployment"), ("apps", "StatefulSet"), ("apps", "DaemonSet")})
_OPERATORS = {"In": False, "NotIn": True, "Exists": False, "DoesNotExist": True}
#: Labels that differ between the pods of one workload.
_OF_ONE_POD = frozenset(
    {
        *("statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"),
        *("batch.kubernetes.io/job-completion-index",),
    }
)


def links_of(kind: Kind, live: Object) -> tuple[Reference | Selector, ...]:
    """Those that exist already, and those that do not."""
    spec = mapping(live.get("spec"))
    found: Iterator[Reference | Selector] = iter(())
    match kind:
        case ("", "Service"):
            found = _label_selector({"matchLabels": spec.get("selector")}, _PODS)
        case ("policy", "PodDisruptionBudget"):
            found = _label_selector(mapping(spec.get("selector")), _WORKLOADS)
        case ("autoscaling", "HorizontalPodAutoscaler") | ("keda.sh", "ScaledObject"):
            found = _target(mapping(spec.get("scaleTargetRef")))
        case ("networking.k8s.io", "Ingress"):
            found = _services_of_ingress(spec)
        case (group, name) if group == _GATEWAY and name.endswith("Route"):
            found = _services_of_route(spec)
        case ("networking.istio.io", "VirtualService"):
            found = _services_of_virtual_service(spec)
    links: dict[Reference | Selector, None] = {}
    for link in found:
        links[link] = None
        if len(links) == MAX_LINKS:
            break
    return tuple(links)


def labels_of(kind: Kind, live: Object) -> Mapping[str, str]:
    """Those of a pod, or of a workload's pods."""
    if kind in _PODS:
        labels = live["metadata"].get("labels")
    elif kind in _WORKLOADS:
        template = mapping(mapping(live.get("spec")).get("template"))
        labels = mapping(template.get("metadata")).get("labels")
    else:
        return {}
    items = [(key, value) for key, value in mapping(labels).items() if key not in _OF_ONE_POD]
    return {sys.intern(str(key)): sys.intern(str(value)) for key, value in items[:MAX_LABELS]}


def _label_selector(selector: Mapping[str, Any], kinds: frozenset[Kind]) -> Iterator[Selector]:
    terms: list[tuple[str, tuple[str, ...] | None, bool]] = [
        (str(key), (str(value),), False) for key, value in mapping(selector.get("matchLabels")).items()
    ]
    for expression in mappings(selector.get("matchExpressions")):
        operator = str(expression.get("operator"))
        if operator not in _OPERATORS:
            return
        values = None if "Exist" in operator else tuple(map(str, expression.get("values") or ()))
        terms.append((str(expression.get("key")), values, _OPERATORS[operator]))
    # A Service without a selector selects nothing.
    if terms:
        yield Selector(kinds, tuple(terms[:MAX_LINKS]))


def _target(reference: Mapping[str, Any]) -> Iterator[Reference]:
    group = str(reference.get("apiVersion") or "apps/v1").rpartition("/")[0]
    if reference.get("name"):
        yield Reference(group, str(reference.get("kind") or "Deployment"), str(reference["name"]))


def _services_of_ingress(spec: Mapping[str, Any]) -> Iterator[Reference]:
    backends = [mapping(spec.get("defaultBackend"))]
    for rule in mappings(spec.get("rules")):
        paths = mappings(mapping(rule.get("http")).get("paths"))
        backends += [mapping(path.get("backend")) for path in paths]
    for backend in backends:
        if name := mapping(backend.get("service")).get("name"):
            yield Reference("", "Service", str(name))


def _services_of_route(spec: Mapping[str, Any]) -> Iterator[Reference]:
    for parent in mappings(spec.get("parentRefs")):
        group, kind = str(parent.get("group", _GATEWAY)), str(parent.get("kind", "Gateway"))
        if parent.get("name"):
            yield Reference(
                group,
                kind,
                str(parent["name"]),
                str(parent.get("namespace") or ""),
                upwards=kind == "Gateway",
            )
    for rule in mappings(spec.get("rules")):
        for backend in mappings(rule.get("backendRefs")):
            if backend.get("name"):
                yield Reference(
                    str(backend.get("group") or ""),
                    str(backend.get("kind") or "Service"),
                    str(backend["name"]),
                    str(backend.get("namespace") or ""),
                )


def _services_of_virtual_service(spec: Mapping[str, Any]) -> Iterator[Reference]:
    for protocol in ("http", "tcp", "tls"):
        for rule in mappings(spec.get(protocol)):
            for route in mappings(rule.get("route")):
                # A short name, or `name.namespace.svc.cluster.local`.
                host = str(mapping(route.get("destination")).get("host", ""))
                name, _, rest = host.partition(".")
                namespace = rest.partition(".")[0]
                if name and (not rest or rest.partition(".")[2] in ("", "svc", "svc.cluster.local")):
                    yield Reference("", "Service", name, namespace)
