"""The method `smi`: weights of a TrafficSplit between the services of the variants."""

from collections.abc import Mapping, Sequence, Set

from pipecd.errors import ConfigError
from pipecd.platforms.kubernetes.config import KubernetesApp
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.traffic.backends import (
    Backend,
    split,
    stable_name,
    variant_names,
    weight_of,
)
from pipecd.platforms.kubernetes.traffic.routed import Headers, Routed, Shares

GROUP = "split.smi-spec.io"


def find(spec: KubernetesApp, manifests: Sequence[Manifest]) -> Sequence[Manifest]:
    return [
        found
        for found in manifests
        if (found.group, found.kind) == (GROUP, "TrafficSplit")
        and spec.service.name in ("", found.spec.get("service"))
    ]


def route(routed: Routed, shares: Shares, headers: Headers) -> Manifest:
    if headers:
        raise ConfigError(
            "a TrafficSplit cannot route requests by their headers",
            remedy="remove canaryMatch, or set spec.trafficRouting.method to istio or gateway",
        )
    manifest = routed.manifest
    for backend in _backends(manifest):
        if isinstance(backend.get("weight"), str):
            raise ConfigError(
                f"the weights of {manifest} are texts",
                remedy="use apiVersion: split.smi-spec.io/v1alpha2 or later, with whole numbers",
                place=manifest.place,
            )
    changed = split(
        routed,
        _backends(manifest),
        shares,
        name_of=_name,
        rename=lambda backend, name: {**backend, "service": name},
        place=manifest.place,
    )
    return Manifest({**manifest.body, "spec": {**manifest.spec, "backends": changed}}, manifest.place)


def receiving(routed: Routed, live: Manifest) -> Set[str]:
    stable = stable_name(routed, [_name(backend) for backend in _backends(live)]) or routed.service
    variants = variant_names(routed, stable)
    return {
        variants[_name(backend)]
        for backend in _backends(live)
        if weight_of(backend) > 0 and _name(backend) in variants
    }


def primary_service(routed: Routed) -> str:
    names = [_name(backend) for backend in _backends(routed.manifest)]
    return stable_name(routed, names) or routed.service


def _backends(manifest: Manifest) -> Sequence[Backend]:
    backends = manifest.spec.get("backends")
    return [found for found in backends if isinstance(found, Mapping)] if isinstance(backends, list) else ()


def _name(backend: Backend) -> str:
    return str(backend.get("service"))
