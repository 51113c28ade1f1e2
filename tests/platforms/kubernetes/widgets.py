"""A kind that a test defines itself."""

import time
from typing import Any

from tests.cluster.control_plane import Cluster

TIMEOUT = 120.0


def define_widgets(cluster: Cluster, group: str, *, kind: str = "Widget", schema: Any = None) -> None:
    """A namespaced kind whose objects may have any fields. Returns when the API server serves it."""
    schema = schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    cluster.request(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"widgets.{group}"},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"kind": kind, "plural": "widgets", "singular": "widget"},
                "versions": [
                    {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
                ],
            },
        },
    )
    deadline = time.monotonic() + TIMEOUT
    while "widgets" not in str(cluster.get(f"/apis/{group}/v1")):
        assert time.monotonic() < deadline, f"{group} is not served"
        time.sleep(0.02)
