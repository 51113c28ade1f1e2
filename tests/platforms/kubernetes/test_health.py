"""Whether objects work, by their status."""

from typing import Any

import pytest

from pipecd.model.resource import Health
from pipecd.platforms.kubernetes.cluster.types import ResourceType
from pipecd.platforms.kubernetes.health.deletion import FINALIZERS_TIMEOUT
from pipecd.platforms.kubernetes.health.fields import epoch_seconds
from pipecd.platforms.kubernetes.health.kinds import ADDRESS_TIMEOUT, KINDS, SETTLING, route_state
from pipecd.platforms.kubernetes.health.pods import pod_problem
from pipecd.platforms.kubernetes.health.rules import FIRST_STATUS_TIMEOUT, HealthRules
from pipecd.platforms.kubernetes.health.states import Broken, Ready, State, Waiting, state_at
from pipecd.platforms.kubernetes.reduce import Reducer

OLD, NEW = "2026-01-01T10:00:00Z", "2026-01-01T10:05:00Z"
AT = epoch_seconds(OLD)
RULES = HealthRules()
GROUPS = {
    **dict.fromkeys(("Pod", "Namespace", "Service", "PersistentVolumeClaim", "PersistentVolume"), "v1"),
    **dict.fromkeys(("Job", "CronJob"), "batch/v1"),
    **dict.fromkeys(("HTTPRoute", "Gateway"), "gateway.networking.k8s.io/v1"),
    "Ingress": "networking.k8s.io/v1",
    "PodDisruptionBudget": "policy/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "APIService": "apiregistration.k8s.io/v1",
}


def workload(kind: str, spec: Any = None, *, applied: str = OLD, **status: Any) -> dict[str, Any]:
    managed = [{"manager": "pipecd", "operation": "Apply", "time": applied}]
    metadata = {"name": "web", "generation": 2, "managedFields": managed}
    return {
        "apiVersion": GROUPS.get(kind, "apps/v1"),
        "kind": kind,
        "metadata": metadata,
        "spec": spec or {},
        "status": {"observedGeneration": 2, **status},
    }


def condition(name: str, status: str = "True", **fields: str) -> dict[str, Any]:
    return {
        "conditions": [
            {"type": name, "status": status, "lastUpdateTime": OLD, "lastTransitionTime": OLD, **fields}
        ]
    }


def accepted(status: str = "True", *, generation: int = 2, **fields: str) -> dict[str, Any]:
    """The conditions of a Gateway, or what a Gateway says about a route."""
    found = {"status": status, "observedGeneration": generation, **fields}
    return {"conditions": [{"type": name, **found} for name in ("Accepted", "Programmed", "ResolvedRefs")]}


def route(*parents: dict[str, Any]) -> dict[str, Any]:
    listed = [{"parentRef": {"name": "edge"}, **parent} for parent in parents]
    return workload("HTTPRoute", {"parentRefs": [{"name": "edge"}]}, parents=listed)


def settling(reason: str) -> Waiting:
    return Waiting(reason, until=AT + SETTLING, then=Broken(reason))


EXCEEDED = condition("Progressing", "False", reason="ProgressDeadlineExceeded", message="timed out")
UPDATED: dict[str, Any] = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
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
    "paused deployment": (workload("Deployment", {"paused": True}, updatedReplicas=0), Ready("is paused")),
    "deployment of none that failed before": (
        workload("Deployment", {"replicas": 0}, applied="2026-01-01T09:55:00Z", **EXCEEDED),
        Ready("0 of 0 replicas are available"),
    ),
    "stateful set that is updated by hand": (
        workload(
            "StatefulSet",
            {"updateStrategy": {"type": "OnDelete"}},
            readyReplicas=1,
            currentRevision="a",
            updateRevision="b",
        ),
        Ready("1 of 1 replicas are ready"),
    ),
    "daemon set that is updated by hand": (
        workload(
            "DaemonSet",
            {"updateStrategy": {"type": "OnDelete"}},
            desiredNumberScheduled=1,
            updatedNumberScheduled=0,
            numberAvailable=1,
        ),
        Ready("1 of 1 pods are available"),
    ),
    "replica set": (workload("ReplicaSet", readyReplicas=1), Ready("1 of 1 replicas are ready")),
    "cron job": (workload("CronJob", {"suspend": False}), Ready()),
    "suspended cron job": (workload("CronJob", {"suspend": True}), Ready("is suspended")),
    "service": (workload("Service", {"type": "ClusterIP"}), Ready()),
    "service without an address": (
        workload("Service", {"type": "LoadBalancer"}, loadBalancer={}),
        Waiting("its load balancer has no address yet"),
    ),
    "service with an address": (
        workload("Service", {"type": "LoadBalancer"}, loadBalancer={"ingress": [{"ip": "192.0.2.1"}]}),
        Ready(),
    ),
    "ingress": (workload("Ingress", loadBalancer={"ingress": [{"ip": "192.0.2.1"}]}), Ready()),
    "ingress without an address": (
        workload("Ingress", loadBalancer={}),
        Waiting(
            "has no address yet",
            until=AT + ADDRESS_TIMEOUT,
            then=Ready("its controller does not report an address"),
        ),
    ),
    "volume claim": (workload("PersistentVolumeClaim", phase="Bound"), Ready("is bound")),
    "volume claim without a consumer": (
        workload("PersistentVolumeClaim", phase="Pending"),
        Waiting("is not bound yet; with WaitForFirstConsumer it is bound when a pod uses it"),
    ),
    "lost volume claim": (
        workload("PersistentVolumeClaim", phase="Lost"),
        Broken("its volume does not exist any more"),
    ),
    "volume": (workload("PersistentVolume", phase="Released"), Ready("is released")),
    "failed volume": (workload("PersistentVolume", phase="Failed", message="busy"), Broken("busy")),
    "new volume": (workload("PersistentVolume", phase="Pending"), Waiting("is not available yet")),
    "disruption budget": (
        workload("PodDisruptionBudget", currentHealthy=2, desiredHealthy=1, disruptionsAllowed=1),
        Ready("1 disruptions are allowed"),
    ),
    "disruption budget of no pods": (
        workload("PodDisruptionBudget", currentHealthy=0, desiredHealthy=0),
        Ready("0 disruptions are allowed"),
    ),
    "disruption budget with too few pods": (
        workload("PodDisruptionBudget", currentHealthy=0, desiredHealthy=1),
        Waiting("0 of at least 1 pods are healthy"),
    ),
    "disruption budget that cannot count": (
        workload(
            "PodDisruptionBudget",
            **condition("DisruptionAllowed", "False", reason="SyncFailed", message="no scale"),
        ),
        Broken("no scale"),
    ),
    "autoscaler": (
        workload(
            "HorizontalPodAutoscaler",
            {"minReplicas": 2, "maxReplicas": 5},
            currentReplicas=3,
            **condition("ScalingActive"),
        ),
        Ready("3 replicas, of 2 to 5"),
    ),
    "autoscaler that cannot read metrics": (
        workload("HorizontalPodAutoscaler", **condition("ScalingActive", "False", message="no metrics")),
        settling("no metrics"),
    ),
    "autoscaler that cannot scale": (
        workload("HorizontalPodAutoscaler", **condition("AbleToScale", "False", message="no such target")),
        settling("no such target"),
    ),
    "autoscaler of a target that is scaled to 0": (
        workload("HorizontalPodAutoscaler", **condition("ScalingActive", "False", reason="ScalingDisabled")),
        Ready("does not scale, because its target is scaled to 0"),
    ),
    "new autoscaler": (
        workload("HorizontalPodAutoscaler"),
        Waiting("the controller has not seen it yet"),
    ),
    "definition": (
        workload("CustomResourceDefinition", **condition("Established")),
        Ready("is established"),
    ),
    "definition with names of another": (
        workload("CustomResourceDefinition", **condition("NamesAccepted", "False", message="taken")),
        Broken("its names are not accepted: taken"),
    ),
    "API service": (workload("APIService", **condition("Available")), Ready("is available")),
    "API service that does not answer": (
        workload("APIService", **condition("Available", "False", message="no endpoints")),
        settling("no endpoints"),
    ),
    "gateway": (workload("Gateway", **accepted()), Ready("is programmed")),
    "gateway that no controller has read": (
        workload("Gateway", **accepted(generation=1)),
        Waiting("its controller has not read it yet"),
    ),
    "gateway without an address": (
        workload("Gateway", **accepted("False", reason="AddressNotAssigned")),
        Waiting("AddressNotAssigned"),
    ),
    "refused gateway": (
        workload("Gateway", **accepted("False", reason="UnsupportedValue", message="no such port")),
        Broken("UnsupportedValue: no such port"),
    ),
    "route": (route(accepted()), Ready("is accepted")),
    "route that no gateway has read": (route(), Waiting("no Gateway has accepted it yet")),
    "refused route": (
        route(accepted(), accepted("False", reason="NotAllowedByListeners")),
        Broken("the Gateway edge: NotAllowedByListeners"),
    ),
    "ending namespace": (workload("Namespace", phase="Terminating"), Waiting("is terminating")),
}


@pytest.mark.parametrize("case", CASES)
def test_the_status_decides(case: str) -> None:
    live, expected = CASES[case]
    assert RULES.state_of(live) == expected


def test_an_object_that_is_deleted_is_waited_for() -> None:
    live = workload("Deployment", **UPDATED)
    live["metadata"]["deletionTimestamp"] = NEW
    assert RULES.state_of(live) == Waiting("is being deleted")


def test_finalizers_that_take_too_long_are_named() -> None:
    live = custom({}, deletionTimestamp=OLD, finalizers=["example.com/a", "example.com/b"])
    sentence = "is being deleted: it waits for its finalizers example.com/a, example.com/b"
    state = RULES.state_of(live)
    assert state_at(state, AT + FINALIZERS_TIMEOUT - 1) == state
    assert state_at(state, AT + FINALIZERS_TIMEOUT) == Broken(sentence)


def test_a_kind_whose_controller_reports_nothing_is_healthy_after_a_while() -> None:
    live = custom(None, creationTimestamp=OLD)
    del live["status"]
    assert RULES.state_of(live) == Ready()
    state = RULES.state_of(live, has_status=True)
    assert state_at(state, AT + FIRST_STATUS_TIMEOUT - 1) == state
    assert isinstance(state, Waiting)
    silent = Ready("its controller does not report a status")
    assert state_at(state, AT + FIRST_STATUS_TIMEOUT) == silent
    # It was applied again meanwhile.
    live["metadata"]["managedFields"] = [{"manager": "pipecd", "operation": "Apply", "time": NEW}]
    assert isinstance(state_at(RULES.state_of(live, has_status=True), AT + FIRST_STATUS_TIMEOUT), Waiting)


def test_live_state_shows_what_follows_when_time_passes() -> None:
    kind = ResourceType(group="example.com", version="v1", kind="Certificate", plural="c", namespaced=True)
    live = custom({}, uid="a", deletionTimestamp=OLD, finalizers=["example.com/a"])
    seen = Reducer(RULES)(kind, live)
    assert seen.health_at(AT)[0] is Health.UNKNOWN
    assert seen.health_at(AT + FINALIZERS_TIMEOUT)[0] is Health.UNHEALTHY


@pytest.mark.parametrize("kind", KINDS, ids="/".join)
@pytest.mark.parametrize("status", [None, "text", ["list"], {"conditions": {"a": 1}}, {"conditions": [7]}])
def test_a_rule_takes_objects_of_any_shape(kind: tuple[str, str], status: Any) -> None:
    live = {"apiVersion": f"{kind[0]}/v1", "kind": kind[1], "metadata": {"name": "a"}}
    assert RULES.state_of({**live, "spec": status, "status": status})
    parents = [{"parentRef": status, "conditions": status}, status]
    assert route_state({**live, "spec": {}, "status": {"parents": parents, "conditions": [status]}})


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
    assert RULES.state_of(custom(status)) == expected


def test_a_custom_object_that_is_deleted_is_waited_for() -> None:
    deleted = custom({}, deletionTimestamp="2026-01-01T00:00:00Z")
    assert RULES.state_of(deleted) == Waiting("is being deleted")
