"""The kinds of traffic routing in the shared cluster, and what their controllers would do.

The definitions have the fields that the API and this agent use; the rest is kept as it is.
"""

import time
from contextlib import suppress
from urllib.error import HTTPError

from pipecd.quickstart.simulated_cluster.gateway import PATH as GATEWAY
from pipecd.quickstart.simulated_cluster.gateway import definition
from tests.cluster.control_plane import Cluster
from tests.platforms.kubernetes.stage_runner import Shop

ISTIO = "/apis/networking.istio.io/v1"
_KINDS = {
    GATEWAY: {"Gateway": "gateways", "HTTPRoute": "httproutes"},
    ISTIO: {"VirtualService": "virtualservices", "DestinationRule": "destinationrules"},
}
_TIMEOUT = 120.0


def define_traffic_kinds(cluster: Cluster, path: str) -> None:
    """Returns when the API server serves the kinds of `path`. Other tests may define them meanwhile."""
    group = path.split("/")[2]
    for kind, plural in _KINDS[path].items():
        with suppress(HTTPError):
            cluster.request(
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition(group, kind, plural)
            )
    deadline = time.monotonic() + _TIMEOUT
    while not all(
        f'"{plural}"' in str(cluster.get(path)).replace("'", '"') for plural in _KINDS[path].values()
    ):
        assert time.monotonic() < deadline, f"{path} is not served"
        time.sleep(0.02)


def accept_route(shop: Shop, name: str = "web", *, resolved: bool = True) -> None:
    """What a Gateway's controller does: it writes that it uses the newest generation of the route."""
    path = f"{GATEWAY}/namespaces/{shop.namespace}/httproutes/{name}"
    live = shop.cluster.get(path)
    if live is None:
        return
    generation = live["metadata"]["generation"]
    conditions = [
        {
            "type": kind,
            "status": "True" if ok else "False",
            "observedGeneration": generation,
            "reason": kind if ok else "BackendNotFound",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for kind, ok in (("Accepted", True), ("ResolvedRefs", resolved))
    ]
    status = {
        "parents": [
            {"parentRef": {"name": "gw"}, "controllerName": "example.com/test", "conditions": conditions}
        ]
    }
    if live.get("status") != status:
        shop.cluster.request(
            f"{path}/status",
            {"status": status},
            method="PATCH",
            content_type="application/merge-patch+json",
        )
