"""What the methods of traffic routing are given."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipecd.platforms.kubernetes.config import KubernetesApp
from pipecd.platforms.kubernetes.manifest import DEFAULT_NAMESPACE, Manifest
from pipecd.platforms.kubernetes.variants import Variant

#: Percentages that sum to 100, by the name of the variant.
Shares = Mapping[str, int]
#: Names and values of headers of requests that go to the canary.
Headers = Mapping[str, str]
#: Name of the rules for such requests.
MATCH_RULE = "pipecd-canary"


@dataclass(frozen=True, kw_only=True)
class Routed:
    """`manifest` is the routing object in Git, and `service` the name of the application's service."""

    spec: KubernetesApp
    manifest: Manifest
    service: str
    #: Primary, canary and baseline by name.
    variants: Mapping[str, Variant]

    @property
    def namespace(self) -> str:
        """Where names without a namespace are."""
        return self.manifest.namespace or self.spec.input.namespace or DEFAULT_NAMESPACE
