"""Waits until a new role is effective: the API server reads roles and bindings by watches."""

import time
from collections.abc import Mapping
from typing import Any

from tests.cluster.control_plane import Cluster
from tests.platforms.kubernetes.stage_runner import TIMEOUT


def wait_until_effective(cluster: Cluster, role: Mapping[str, Any], user: str, namespace: str) -> None:
    """Until `user` has the first permission of the role in the namespace; a check is a request."""
    rule = role["rules"][0]
    attributes = {
        "namespace": namespace,
        "verb": rule["verbs"][0],
        "group": rule["apiGroups"][0],
        "resource": rule["resources"][0],
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    deadline = time.monotonic() + TIMEOUT
    while not cluster.request("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"][
        "allowed"
    ]:
        assert time.monotonic() < deadline, f"{user} never got the role: {attributes}"
        time.sleep(0.02)
