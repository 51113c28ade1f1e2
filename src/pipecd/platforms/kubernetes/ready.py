"""Whether an object works, from its status. Pure.

Follows the rules that Kubernetes documents for each kind. An object newer than its status is waited for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipecd.platforms.kubernetes.mark import MANAGER

#: Reasons of a waiting container that need a change to go away.
_STUCK = frozenset(
    {
        *("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"),
        *("CreateContainerConfigError", "CreateContainerError", "CrashLoopBackOff", "RunContainerError"),
    }
)
Object = Mapping[str, Any]
#: Of a Deployment whose last rollout failed, before its controller judges the new one.
OUTDATED = "its failed status is older than the change"


@dataclass(frozen=True)
class Ready:
    """It works."""

    note: str = ""


@dataclass(frozen=True)
class Waiting:
    """It may become ready. `note` is what it waits for."""

    note: str


@dataclass(frozen=True)
class Broken:
    """It does not become ready without a change."""

    reason: str


State = Ready | Waiting | Broken


def state_of(live: Object) -> State:
    """The state of a live object. Kinds without a rule are ready."""
    metadata = live["metadata"]
    if metadata.get("deletionTimestamp"):
        return Waiting("is being deleted")
    rule = _RULES.get((_group(live), str(live["kind"])))
    if rule is None:
        return Ready()
    if _failed_before(live):
        return Waiting(OUTDATED)
    status = live.get("status") or {}
    observed = status.get("observedGeneration")
    if observed is not None and observed < metadata.get("generation", 0):
        return Waiting("the controller has not seen the change yet")
    return rule(live.get("spec") or {}, status)


def shown_state_of(live: Object) -> State:
    """As `state_of`, but kinds without a rule are judged by the conditions that most controllers write.

    Without such conditions the object is ready.
    """
    state = state_of(live)
    has_rule = (_group(live), str(live["kind"])) in _RULES
    return _state_by_conditions(live) if state == Ready() and not has_rule else state


def _state_by_conditions(live: Object) -> State:
    """The status of a custom kind may have any shape."""
    metadata, status = live["metadata"], live.get("status")
    if not isinstance(status, Mapping):
        return Ready()
    observed = status.get("observedGeneration")
    if isinstance(observed, int) and observed < int(metadata.get("generation") or 0):
        return Waiting("the controller has not seen the change yet")
    listed = status.get("conditions")
    conditions = {
        str(item.get("type")): (item.get("status"), str(item.get("message") or item.get("reason") or ""))
        for item in (listed if isinstance(listed, list) else ())
        if isinstance(item, Mapping)
    }
    for name in ("Stalled", "Failed", "Degraded"):
        if conditions.get(name, ("", ""))[0] == "True":
            return Broken(conditions[name][1] or f"its condition {name} is True")
    for name in ("Ready", "Available", "Established", "Programmed"):
        if name in conditions and conditions[name][0] != "True":
            return Waiting(conditions[name][1] or f"its condition {name} is {conditions[name][0]}")
    if conditions.get("Reconciling", ("", ""))[0] == "True":
        return Waiting(conditions["Reconciling"][1] or "its controller is working")
    return Ready()


def _failed_before(live: Object) -> bool:
    """Whether a Deployment exceeded its deadline before it was changed for the last time.

    The controller keeps the condition until pods of the new revision appear. All times are the servers'.
    """
    progressing = _condition(live.get("status") or {}, "Progressing")
    if progressing.get("reason") != "ProgressDeadlineExceeded":
        return False
    applied = [
        str(entry.get("time", ""))
        for entry in live["metadata"].get("managedFields") or ()
        if entry.get("manager") == MANAGER and not entry.get("subresource")
    ]
    return str(progressing.get("lastUpdateTime", "")) <= max(applied, default="")


def is_workload(api_version: str, kind: str) -> bool:
    """Whether a stage waits for objects of the kind."""
    group = api_version.rpartition("/")[0]
    return (group, kind) in _WAITED_FOR


def pod_problem(pod: Object) -> str:
    """Why a pod cannot start, from its status; empty if no reason is known."""
    status = pod.get("status") or {}
    name = pod["metadata"]["name"]
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for container in containers:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in _STUCK:
            continue
        problem = f"pod {name}, container {container['name']}: {waiting['reason']}"
        if waiting.get("message"):
            problem += f": {waiting['message']}"
        ended = (container.get("lastState") or {}).get("terminated")
        return problem + (f"; it last exited with code {ended['exitCode']}" if ended else "")
    for condition in status.get("conditions") or ():
        if condition.get("reason") == "Unschedulable":
            return f"pod {name} cannot be scheduled: {condition.get('message', '')}"
    return ""


def lost_readiness(pod: Object) -> str:
    """Why a pod that runs is not ready any more; empty for one that starts."""
    status = pod.get("status") or {}
    ready = _condition(status, "Ready")
    if status.get("phase") != "Running" or ready.get("status") != "False":
        return ""
    since = str(ready.get("lastTransitionTime", ""))
    for container in status.get("containerStatuses") or ():
        ended = (container.get("lastState") or {}).get("terminated")
        if ended and not container.get("ready"):
            return f"container {container['name']} ended with code {ended.get('exitCode')}, and is not ready"
    starts = [
        str(((container.get("state") or {}).get("running") or {}).get("startedAt", ""))
        for container in status.get("containerStatuses") or ()
    ]
    if starts and since > max(starts):
        return f"it is not ready any more: {ready.get('message') or ready.get('reason') or 'no reason given'}"
    return ""


def _deployment(spec: Object, status: Object) -> State:
    progressing = _condition(status, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return Broken(str(progressing.get("message") or "its progress deadline was exceeded"))
    failure = _condition(status, "ReplicaFailure")
    if failure.get("status") == "True":
        return Broken(str(failure.get("message")))
    wanted = _count(spec, "replicas", 1)
    updated, total = _count(status, "updatedReplicas"), _count(status, "replicas")
    available = _count(status, "availableReplicas")
    if updated < wanted:
        return Waiting(f"{updated} of {wanted} replicas are updated")
    if total > updated:
        return Waiting(f"{total - updated} old replicas still run")
    if available < updated:
        return Waiting(f"{available} of {updated} updated replicas are available")
    return Ready(f"{available} of {wanted} replicas are available")


def _stateful_set(spec: Object, status: Object) -> State:
    wanted, ready = _count(spec, "replicas", 1), _count(status, "readyReplicas")
    strategy = spec.get("updateStrategy") or {}
    if ready < wanted:
        return Waiting(f"{ready} of {wanted} replicas are ready")
    if strategy.get("type") == "OnDelete":
        return Ready(f"{ready} of {wanted} replicas are ready")
    partition = _count(strategy.get("rollingUpdate") or {}, "partition")
    updated, needed = _count(status, "updatedReplicas"), max(0, wanted - partition)
    if status.get("updateRevision") == status.get("currentRevision"):
        updated = wanted
    if updated < needed:
        return Waiting(f"{updated} of {needed} replicas are updated")
    return Ready(f"{ready} of {wanted} replicas are ready")


def _daemon_set(spec: Object, status: Object) -> State:
    wanted, updated = _count(status, "desiredNumberScheduled"), _count(status, "updatedNumberScheduled")
    available = _count(status, "numberAvailable")
    if "observedGeneration" not in status:
        return Waiting("the controller has not seen it yet")
    if (spec.get("updateStrategy") or {}).get("type") != "OnDelete" and updated < wanted:
        return Waiting(f"{updated} of {wanted} pods are updated")
    if available < wanted:
        return Waiting(f"{available} of {wanted} pods are available")
    return Ready(f"{available} of {wanted} pods are available")


def _replica_set(spec: Object, status: Object) -> State:
    failure = _condition(status, "ReplicaFailure")
    if failure.get("status") == "True":
        return Broken(str(failure.get("message")))
    wanted, ready = _count(spec, "replicas", 1), _count(status, "readyReplicas")
    text = f"{ready} of {wanted} replicas are ready"
    return Waiting(text) if ready < wanted else Ready(text)


def _job(spec: Object, status: Object) -> State:
    for name in ("Failed", "FailureTarget"):
        failed = _condition(status, name)
        if failed.get("status") == "True":
            return Broken(f"{failed.get('reason', 'failed')}: {failed.get('message', '')}".rstrip(": "))
    if spec.get("suspend"):
        return Ready("is suspended")
    if _condition(status, "Complete").get("status") == "True":
        return Ready("completed")
    return Waiting(f"{_count(status, 'active')} pods are active")


def _pod(spec: Object, status: Object) -> State:
    phase = status.get("phase")
    if phase == "Failed":
        return Broken(str(status.get("message") or status.get("reason") or "failed"))
    if phase == "Succeeded":
        return Ready("succeeded")
    if _condition(status, "Ready").get("status") == "True":
        return Ready("is ready")
    return Waiting(f"is {str(phase or 'Pending').lower()}")


def _namespace(spec: Object, status: Object) -> State:
    phase = status.get("phase", "Active")
    return Ready() if phase == "Active" else Waiting(f"is {str(phase).lower()}")


def _definition(spec: Object, status: Object) -> State:
    names = _condition(status, "NamesAccepted")
    if names.get("status") == "False":
        return Broken(f"its names are not accepted: {names.get('message')}")
    established = _condition(status, "Established").get("status") == "True"
    return Ready("is established") if established else Waiting("is not established yet")


_RULES: Mapping[tuple[str, str], Callable[[Object, Object], State]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("", "Namespace"): _namespace,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
}
_WAITED_FOR = frozenset(_RULES) - {("", "Namespace"), ("apiextensions.k8s.io", "CustomResourceDefinition")}


def _group(live: Object) -> str:
    return str(live["apiVersion"]).rpartition("/")[0]


def _condition(status: Object, name: str) -> Object:
    conditions: Sequence[Object] = status.get("conditions") or ()
    return next((condition for condition in conditions if condition.get("type") == name), {})


def _count(source: Object, key: str, default: int = 0) -> int:
    value = source.get(key)
    return value if isinstance(value, int) else default
