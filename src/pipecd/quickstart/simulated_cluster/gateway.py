"""A Gateway without a proxy: HTTPRoutes can be created, and are accepted as a Gateway's controller would.

Called by `__main__`, in a thread, beside the simulated cluster. Weights have no effect, because no pod runs.
"""

import threading
from contextlib import suppress
from typing import Any
from urllib.error import HTTPError

from pipecd.json_input import decode_json
from pipecd.quickstart.simulated_cluster.control_plane import Cluster

GROUP = "gateway.networking.k8s.io"
PATH = f"/apis/{GROUP}/v1"
#: What routes name as their parent.
NAMESPACE, NAME = "default", "simulated"
#: Of one watch, and between two attempts (seconds).
_WATCH_SECONDS, _RETRY_SECONDS = 10, 0.2


def definition(group: str, kind: str, plural: str) -> dict[str, Any]:
    """A CustomResourceDefinition that accepts any fields."""
    unknown = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": unknown, "status": unknown}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, simulated"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                }
            ],
        },
    }


def define_routes(cluster: Cluster) -> None:
    """Create the definition of HTTPRoutes, unless it exists. The API server serves them a little later."""
    body = definition(GROUP, "HTTPRoute", "httproutes")
    try:
        cluster.request("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)
    except HTTPError as error:
        if error.code != 409:
            raise


def accept_routes(cluster: Cluster, stop: threading.Event, namespace: str = "") -> None:
    """Accepts all HTTPRoutes, or those of `namespace`, until `stop` is set. Outages are waited for."""
    place = f"{PATH}/namespaces/{namespace}/httproutes" if namespace else f"{PATH}/httproutes"
    while not stop.is_set():
        with suppress(OSError, ValueError):
            # Begins with all routes that exist.
            watch = f"{place}?watch=true&timeoutSeconds={_WATCH_SECONDS}"
            with cluster.open(watch, timeout=2 * _WATCH_SECONDS) as events:
                for line in events:
                    event = decode_json(line)
                    if event["type"] in ("ADDED", "MODIFIED"):
                        _accept(cluster, event["object"])
                    if stop.is_set():
                        return
        stop.wait(_RETRY_SECONDS)


def _accept(cluster: Cluster, route: dict[str, Any]) -> None:
    """Writes that the Gateways of the route use its newest generation, unless that is written."""
    metadata = route["metadata"]
    conditions = [
        {
            "type": kind,
            "status": "True",
            "observedGeneration": metadata["generation"],
            "reason": kind,
            "message": "",
            "lastTransitionTime": metadata["creationTimestamp"],
        }
        for kind in ("Accepted", "ResolvedRefs")
    ]
    parents = [
        {"parentRef": parent, "controllerName": "pipecd.dev/simulated-gateway", "conditions": conditions}
        for parent in route.get("spec", {}).get("parentRefs") or []
    ]
    if route.get("status", {}).get("parents") != parents:
        cluster.request(
            f"{PATH}/namespaces/{metadata['namespace']}/httproutes/{metadata['name']}/status",
            {"status": {"parents": parents}},
            method="PATCH",
            content_type="application/merge-patch+json",
        )
