"""The method `podselector`: the selector of the Service chooses the variant that gets all traffic."""

from collections.abc import Sequence, Set

from pipecd.errors import ConfigError
from pipecd.platforms.kubernetes.config import KubernetesApp
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.traffic.routed import Headers, Routed, Shares
from pipecd.platforms.kubernetes.variants import CANARY, is_service


def find(spec: KubernetesApp, manifests: Sequence[Manifest]) -> Sequence[Manifest]:
    return [found for found in manifests if is_service(found) and spec.service.name in ("", found.name)]


def route(routed: Routed, shares: Shares, headers: Headers) -> Manifest:
    if shares[CANARY] != 100 or headers:
        raise ConfigError(
            "a Service can send all of its traffic to primary or to canary, and cannot split it",
            remedy="set all: primary or all: canary, or another spec.trafficRouting.method",
        )
    key, value = routed.variants[CANARY].label
    body = routed.manifest.body
    spec = {**routed.manifest.spec, "selector": {**(routed.manifest.spec.get("selector") or {}), key: value}}
    return Manifest({**body, "spec": spec}, routed.manifest.place)


def receiving(routed: Routed, live: Manifest) -> Set[str]:
    selector = live.spec.get("selector") or {}
    names = {variant.label[1]: name for name, variant in routed.variants.items()}
    key = next(iter(routed.variants.values())).label[0]
    if key not in selector:
        # It selects the pods of all variants.
        return set(routed.variants)
    return {names[selector[key]]} if selector[key] in names else set()
