"""How traffic is split between the variants of an application. Pure: functions on one manifest.

    routing = find_routing(spec, manifests)
    routing.route({"primary": 80, "canary": 20, "baseline": 0})   # the manifest to apply
    routing.receiving(live)                                       # the variants that get traffic

Each method changes the manifest in Git: what it does not understand stays, and with all traffic for the
primary variant the manifest is applied as it is in Git.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

from pipecd.errors import ConfigError
from pipecd.platforms.kubernetes.config import KubernetesApp
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.traffic import gateway, istio, selector, smi
from pipecd.platforms.kubernetes.traffic.routed import Headers, Routed, Shares
from pipecd.platforms.kubernetes.variants import (
    BASELINE,
    CANARY,
    PRIMARY,
    configured_variant,
    is_service,
)

ROUTING_STAGES = frozenset({"K8S_TRAFFIC_ROUTING", "K8S_MULTI_TRAFFIC_ROUTING"})
ALL_PRIMARY: Shares = {PRIMARY: 100, CANARY: 0, BASELINE: 0}


@dataclass(frozen=True, kw_only=True)
class Method:
    #: The manifests that can route the traffic, best first.
    find: Callable[[KubernetesApp, Sequence[Manifest]], Sequence[Manifest]]
    #: What is searched, for messages.
    kind: str
    route: Callable[[Routed, Shares, Headers], Manifest]
    receiving: Callable[[Routed, Manifest], Set[str]]
    #: The service of the primary variant.
    primary_service: Callable[[Routed], str] = lambda routed: routed.service
    #: Why the route is not effective yet, of the live object; empty if it is.
    pending: Callable[[Manifest], str] = lambda live: ""


METHODS: Mapping[str, Method] = {
    "podselector": Method(
        find=selector.find, kind="Service", route=selector.route, receiving=selector.receiving
    ),
    "istio": Method(find=istio.find, kind="VirtualService", route=istio.route, receiving=istio.receiving),
    "gateway": Method(
        find=gateway.find,
        kind="HTTPRoute or GRPCRoute",
        route=gateway.route,
        receiving=gateway.receiving,
        primary_service=gateway.primary_service,
        pending=gateway.pending,
    ),
    "smi": Method(
        find=smi.find,
        kind="TrafficSplit",
        route=smi.route,
        receiving=smi.receiving,
        primary_service=smi.primary_service,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Routing(Routed):
    """The manifest that routes the traffic of an application, with its method."""

    method: Method
    #: `manifest` as it is declared, where it may name no namespace.
    declared: Manifest

    def service_of(self, variant: str) -> str:
        """The service of the variant, for methods that split traffic between services."""
        if variant == PRIMARY:
            return self.method.primary_service(self)
        return self.variants[variant].rename(self.service)

    def route(self, shares: Shares, headers: Headers | None = None) -> Manifest:
        """The manifest to apply. Raises ConfigError if the method cannot split the traffic like that."""
        if shares[PRIMARY] == 100 and not headers:
            return self.manifest
        return self.method.route(self, shares, headers or {})

    def receiving(self, live: Manifest) -> Set[str]:
        """The variants that get traffic by the live object."""
        return self.method.receiving(self, live)


def is_routed(spec: KubernetesApp) -> bool:
    """Whether a stage of the pipeline routes the traffic."""
    return any(stage.name in ROUTING_STAGES for stage in (spec.pipeline.stages if spec.pipeline else ()))


def find_routing(
    spec: KubernetesApp, manifests: Sequence[Manifest], warn: Callable[[str], None] = lambda text: None
) -> Routing:
    """Raises ConfigError if no manifest routes the traffic."""
    method = METHODS[spec.traffic_routing.method]
    found = method.find(spec, manifests)
    if not found:
        raise ConfigError(
            f"the application has no {method.kind} that routes its traffic",
            remedy=f"add one, or correct spec.trafficRouting: its method is {spec.traffic_routing.method}",
        )
    if len(found) > 1:
        warn(f"Several objects can route the traffic; {found[0]} is used")
    return Routing(
        spec=spec,
        manifest=_placed(found[0], spec.input.namespace),
        service=_service_name(spec, manifests),
        variants={name: configured_variant(spec, name) for name in (PRIMARY, CANARY, BASELINE)},
        method=method,
        declared=found[0],
    )


def _placed(manifest: Manifest, namespace: str) -> Manifest:
    """All of these kinds have namespaces."""
    if manifest.namespace or not namespace:
        return manifest
    metadata = {**manifest.body["metadata"], "namespace": namespace}
    return Manifest({**manifest.body, "metadata": metadata}, manifest.place)


def _service_name(spec: KubernetesApp, manifests: Sequence[Manifest]) -> str:
    if spec.service.name:
        return spec.service.name
    return next((manifest.name for manifest in manifests if is_service(manifest)), "")
