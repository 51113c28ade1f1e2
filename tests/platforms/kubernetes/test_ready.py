"""Whether objects work, by their status."""

from typing import Any

import pytest

from pipecd.platforms.kubernetes.ready import (
    Broken,
    Ready,
    State,
    Waiting,
    pod_problem,
    shown_state_of,
    state_of,
)

OLD, NEW = "2026-01-01T10:00:00Z", "2026-01-01T10:05:00Z"


def workload(kind: str, spec: Any = None, *, applied: str = OLD, **status: Any) -> dict[str, Any]:
    api_version = {"Job": "batch/v1", "Pod": "v1", "Namespace": "v1"}.get(kind, "apps/v1")
    managed = [{"manager": "pipecd", "operation": "Apply", "time": applied}]
    metadata = {"name": "web", "generation": 2, "managedFields": managed}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": metadata,
        "spec": spec or {},
        "status": {"observedGeneration": 2, **status},
    }


def condition(name: str, status: str = "True", **fields: str) -> dict[str, Any]:
    return {"conditions": [{"type": name, "status": status, "lastUpdateTime": OLD, **fields}]}


EXCEEDED = condition("Progressing", "False", reason="ProgressDeadlineExceeded", message="timed out")
UPDATED = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
CASES = {
    "kind without a rule": (workload("Unknown"), Ready()),
    "newer than its status": (
        workload("Deployment", observedGeneration=1),
        Waiting("the controller has not seen the change yet"),
    ),
    "deployment": (
        workload("Deployment", {"replicas": 2}, **UPDATED),
        Ready("2 of 2 replicas are available"),
    ),
    "deployment of none": (workload("Deployment", {"replicas": 0}), Ready("0 of 0 replicas are available")),
    "not updated": (
        workload("Deployment", {"replicas": 2}, **{**UPDATED, "updatedReplicas": 1}),
        Waiting("1 of 2 replicas are updated"),
    ),
    "old pods": (
        workload("Deployment", {"replicas": 2}, **{**UPDATED, "replicas": 3}),
        Waiting("1 old replicas still run"),
    ),
    "not available": (
        workload("Deployment", {"replicas": 2}, **{**UPDATED, "availableReplicas": 1}),
        Waiting("1 of 2 updated replicas are available"),
    ),
    "deadline": (workload("Deployment", applied="2026-01-01T09:55:00Z", **EXCEEDED), Broken("timed out")),
    "deadline of the rollout before": (
        workload("Deployment", applied=NEW, **EXCEEDED),
        Waiting("its failed status is older than the change"),
    ),
    "quota": (
        workload("Deployment", **condition("ReplicaFailure", message="exceeded quota")),
        Broken("exceeded quota"),
    ),
    "stateful set": (
        workload("StatefulSet", {"replicas": 2}, readyReplicas=2, updatedReplicas=2),
        Ready("2 of 2 replicas are ready"),
    ),
    "partition": (
        workload(
            "StatefulSet",
            {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
            readyReplicas=3,
            updatedReplicas=1,
            currentRevision="a",
            updateRevision="b",
        ),
        Ready("3 of 3 replicas are ready"),
    ),
    "stateful set in an update": (
        workload("StatefulSet", readyReplicas=1, currentRevision="a", updateRevision="b"),
        Waiting("0 of 1 replicas are updated"),
    ),
    "daemon set": (
        workload("DaemonSet", desiredNumberScheduled=2, updatedNumberScheduled=1, numberAvailable=2),
        Waiting("1 of 2 pods are updated"),
    ),
    "job": (workload("Job", **condition("Complete")), Ready("completed")),
    "failed job": (
        workload("Job", **condition("Failed", reason="BackoffLimitExceeded", message="too often")),
        Broken("BackoffLimitExceeded: too often"),
    ),
    "suspended job": (workload("Job", {"suspend": True}), Ready("is suspended")),
    "running job": (workload("Job", active=1), Waiting("1 pods are active")),
    "pod": (workload("Pod", phase="Running", **condition("Ready")), Ready("is ready")),
    "starting pod": (workload("Pod", phase="Running"), Waiting("is running")),
    "failed pod": (workload("Pod", phase="Failed", reason="Evicted"), Broken("Evicted")),
    "ending namespace": (workload("Namespace", phase="Terminating"), Waiting("is terminating")),
}


@pytest.mark.parametrize("case", CASES)
def test_the_status_decides(case: str) -> None:
    live, expected = CASES[case]
    assert state_of(live) == expected


def test_an_object_that_is_deleted_is_waited_for() -> None:
    live = workload("Deployment", **UPDATED)
    live["metadata"]["deletionTimestamp"] = NEW
    assert state_of(live) == Waiting("is being deleted")


def pod(**container: Any) -> dict[str, Any]:
    statuses = [{"name": "web", **container}]
    return {"metadata": {"name": "web-1"}, "status": {"containerStatuses": statuses}}


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (pod(state={"running": {}}), ""),
        (pod(state={"waiting": {"reason": "ContainerCreating"}}), ""),
        (
            pod(state={"waiting": {"reason": "ErrImagePull", "message": "not found"}}),
            "pod web-1, container web: ErrImagePull: not found",
        ),
        (
            pod(
                state={"waiting": {"reason": "CrashLoopBackOff"}},
                lastState={"terminated": {"exitCode": 137}},
            ),
            "pod web-1, container web: CrashLoopBackOff; it last exited with code 137",
        ),
        (
            {
                "metadata": {"name": "web-1"},
                "status": {"conditions": [{"reason": "Unschedulable", "message": "no node"}]},
            },
            "pod web-1 cannot be scheduled: no node",
        ),
    ],
)
def test_a_pod_says_why_it_cannot_start(found: Any, problem: str) -> None:
    assert pod_problem(found) == problem


def custom(status: Any, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "example.com/v1",
        "kind": "Certificate",
        "metadata": {"name": "a", "generation": 2, **metadata},
        "status": status,
    }


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"conditions": [{"type": "Ready", "status": "True"}]}, Ready()),
        ({"conditions": [{"type": "Ready", "status": "False", "message": "issuing"}]}, Waiting("issuing")),
        ({"conditions": [{"type": "Stalled", "status": "True", "reason": "NoIssuer"}]}, Broken("NoIssuer")),
        ({"conditions": [{"type": "Reconciling", "status": "True"}]}, Waiting("its controller is working")),
        ({"observedGeneration": 1}, Waiting("the controller has not seen the change yet")),
        ({"observedGeneration": 2}, Ready()),
        # The status of a custom kind may have any shape.
        ("text", Ready()),
        (["list"], Ready()),
        ({"conditions": "text", "observedGeneration": "x"}, Ready()),
        ({"conditions": [None, "text", {"type": ["Ready"], "status": {}}]}, Ready()),
    ],
)
def test_a_kind_without_a_rule_is_judged_by_common_conditions(status: Any, expected: State) -> None:
    assert shown_state_of(custom(status)) == expected


def test_a_custom_object_that_is_deleted_is_waited_for() -> None:
    deleted = custom({}, deletionTimestamp="2026-01-01T00:00:00Z")
    assert shown_state_of(deleted) == Waiting("is being deleted")
