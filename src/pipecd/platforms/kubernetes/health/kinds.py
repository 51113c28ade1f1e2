"""The rules of Kubernetes' own kinds, as a table. Pure.

Each rule follows what Kubernetes documents for its kind. A kind that is not in the table has no health.
"""

from collections.abc import Callable, Mapping

from pipecd.platforms.kubernetes.health.fields import (
    Condition,
    Object,
    conditions_of,
    count,
    epoch_seconds,
    mapping,
    mappings,
    spec_of,
    status_of,
    text,
)
from pipecd.platforms.kubernetes.health.pods import lost_readiness, pod_problem
from pipecd.platforms.kubernetes.health.states import Broken, Ready, State, Waiting
from pipecd.platforms.kubernetes.mark import MANAGER

Rule = Callable[[Object], State]
#: Of a Deployment whose last rollout failed, before its controller judges the new one.
OUTDATED = "its failed status is older than the change"
#: What a controller reports may be about pods that are starting (seconds).
SETTLING = 120.0
#: Many ingress controllers never report an address (seconds).
ADDRESS_TIMEOUT = 300.0


def applied_at(live: Object) -> int:
    """When this agent changed it last, else when it was created (epoch seconds, by the server)."""
    metadata = mapping(live.get("metadata"))
    applied = [
        epoch_seconds(entry.get("time"))
        for entry in mappings(metadata.get("managedFields"))
        if entry.get("manager") == MANAGER and not entry.get("subresource")
    ]
    return max(applied, default=epoch_seconds(metadata.get("creationTimestamp")))


def _deployment(live: Object) -> State:
    spec, status = spec_of(live), status_of(live)
    conditions = conditions_of(status)
    wanted = count(spec, "replicas", 1)
    updated, total = count(status, "updatedReplicas"), count(status, "replicas")
    available = count(status, "availableReplicas")
    working = Ready(f"{available} of {wanted} replicas are available")
    if wanted == 0 and total == 0:
        return working
    if spec.get("paused"):
        return Ready("is paused")
    progressing = conditions["Progressing"]
    if progressing.reason == "ProgressDeadlineExceeded":
        # The controller keeps the condition until pods of the new revision appear.
        if _updated_at(status, "Progressing") <= _last_applied(live):
            return Waiting(OUTDATED)
        return Broken(progressing.message or "its progress deadline was exceeded")
    if conditions["ReplicaFailure"].status == "True":
        return Broken(conditions["ReplicaFailure"].explain("pods cannot be created"))
    if updated < wanted:
        return Waiting(f"{updated} of {wanted} replicas are updated")
    if total > updated:
        return Waiting(f"{total - updated} old replicas still run")
    if available < updated:
        return Waiting(f"{available} of {updated} updated replicas are available")
    return working


def _last_applied(live: Object) -> int:
    """As `applied_at`, and 0 for an object that others applied."""
    metadata = mapping(live.get("metadata"))
    return applied_at({"metadata": {"managedFields": metadata.get("managedFields")}})


def _updated_at(status: Object, name: str) -> int:
    for condition in mappings(status.get("conditions")):
        if condition.get("type") == name:
            return epoch_seconds(condition.get("lastUpdateTime"))
    return 0


def _stateful_set(live: Object) -> State:
    spec, status = spec_of(live), status_of(live)
    wanted, ready = count(spec, "replicas", 1), count(status, "readyReplicas")
    working = Ready(f"{ready} of {wanted} replicas are ready")
    strategy = mapping(spec.get("updateStrategy"))
    if ready < wanted:
        return Waiting(f"{ready} of {wanted} replicas are ready")
    if strategy.get("type") == "OnDelete":
        return working
    partition = count(mapping(strategy.get("rollingUpdate")), "partition")
    updated, needed = count(status, "updatedReplicas"), max(0, wanted - partition)
    if status.get("updateRevision") == status.get("currentRevision"):
        updated = wanted
    if updated < needed:
        return Waiting(f"{updated} of {needed} replicas are updated")
    return working


def _daemon_set(live: Object) -> State:
    spec, status = spec_of(live), status_of(live)
    wanted, updated = count(status, "desiredNumberScheduled"), count(status, "updatedNumberScheduled")
    available = count(status, "numberAvailable")
    if "observedGeneration" not in status:
        return Waiting("the controller has not seen it yet")
    if mapping(spec.get("updateStrategy")).get("type") != "OnDelete" and updated < wanted:
        return Waiting(f"{updated} of {wanted} pods are updated")
    if available < wanted:
        return Waiting(f"{available} of {wanted} pods are available")
    return Ready(f"{available} of {wanted} pods are available")


def _replica_set(live: Object) -> State:
    status = status_of(live)
    failure = conditions_of(status)["ReplicaFailure"]
    if failure.status == "True":
        return Broken(failure.explain("pods cannot be created"))
    wanted, ready = count(spec_of(live), "replicas", 1), count(status, "readyReplicas")
    sentence = f"{ready} of {wanted} replicas are ready"
    return Waiting(sentence) if ready < wanted else Ready(sentence)


def _job(live: Object) -> State:
    conditions = conditions_of(status_of(live))
    for failed in (conditions["Failed"], conditions["FailureTarget"]):
        if failed.status == "True":
            return Broken(f"{failed.reason or 'failed'}: {failed.message}".rstrip(": "))
    if spec_of(live).get("suspend"):
        return Ready("is suspended")
    if conditions["Complete"].status == "True":
        return Ready("completed")
    return Waiting(f"{count(status_of(live), 'active')} pods are active")


def _cron_job(live: Object) -> State:
    return Ready("is suspended" if spec_of(live).get("suspend") else "")


def _pod(live: Object) -> State:
    status = status_of(live)
    phase = text(status, "phase")
    if phase == "Failed":
        return Broken(text(status, "message") or text(status, "reason") or "failed")
    if phase == "Succeeded":
        return Ready("succeeded")
    if conditions_of(status)["Ready"].status == "True":
        return Ready("is ready")
    return Waiting(f"is {(phase or 'Pending').lower()}", problem=pod_problem(live) or lost_readiness(live))


def _service(live: Object) -> State:
    if spec_of(live).get("type") != "LoadBalancer" or _addresses(live):
        return Ready()
    return Waiting("its load balancer has no address yet")


def _ingress(live: Object) -> State:
    if _addresses(live):
        return Ready()
    unknown = Ready("its controller does not report an address")
    return Waiting("has no address yet", until=applied_at(live) + ADDRESS_TIMEOUT, then=unknown)


def _addresses(live: Object) -> bool:
    return bool(mapping(status_of(live).get("loadBalancer")).get("ingress"))


def _volume_claim(live: Object) -> State:
    phase = text(status_of(live), "phase")
    if phase == "Bound":
        return Ready("is bound")
    if phase == "Lost":
        return Broken("its volume does not exist any more")
    # Whether its storage class has the mode WaitForFirstConsumer is not in the claim.
    return Waiting("is not bound yet; with WaitForFirstConsumer it is bound when a pod uses it")


def _volume(live: Object) -> State:
    status = status_of(live)
    phase = text(status, "phase")
    if phase == "Failed":
        return Broken(text(status, "message") or text(status, "reason") or "its reclamation failed")
    if phase in ("Available", "Bound", "Released"):
        return Ready(f"is {phase.lower()}")
    return Waiting("is not available yet")


def _disruption_budget(live: Object) -> State:
    status = status_of(live)
    allowed = conditions_of(status)["DisruptionAllowed"]
    if allowed.reason == "SyncFailed":
        return Broken(allowed.message or "its pods cannot be counted")
    healthy, needed = count(status, "currentHealthy"), count(status, "desiredHealthy")
    if healthy < needed:
        return Waiting(f"{healthy} of at least {needed} pods are healthy")
    return Ready(f"{count(status, 'disruptionsAllowed')} disruptions are allowed")


def _autoscaler(live: Object) -> State:
    conditions = conditions_of(status_of(live))
    if conditions["ScalingActive"].reason == "ScalingDisabled":
        return Ready("does not scale, because its target is scaled to 0")
    for name in ("AbleToScale", "ScalingActive"):
        if conditions[name].status == "False":
            return _settling(live, conditions[name], f"its condition {name} is False")
    if not conditions:
        return Waiting("the controller has not seen it yet")
    replicas = count(status_of(live), "currentReplicas")
    return Ready(f"{replicas} replicas, of {count(spec_of(live), 'minReplicas', 1)} to {_most(live)}")


def _most(live: Object) -> int:
    return count(spec_of(live), "maxReplicas")


def _settling(live: Object, condition: Condition, otherwise: str) -> Waiting:
    """Unhealthy if the condition stays, because it may be about pods that are starting."""
    since = max(condition.changed_at, applied_at(live))
    reason = condition.explain(otherwise)
    return Waiting(reason, until=since + SETTLING, then=Broken(reason))


def _namespace(live: Object) -> State:
    phase = text(status_of(live), "phase") or "Active"
    return Ready() if phase == "Active" else Waiting(f"is {phase.lower()}")


def _definition(live: Object) -> State:
    conditions = conditions_of(status_of(live))
    if conditions["NamesAccepted"].status == "False":
        return Broken(f"its names are not accepted: {conditions['NamesAccepted'].message}")
    established = conditions["Established"].status == "True"
    return Ready("is established") if established else Waiting("is not established yet")


def _api_service(live: Object) -> State:
    available = conditions_of(status_of(live))["Available"]
    if available.status == "True":
        return Ready("is available")
    if available.status == "False":
        return _settling(live, available, "is not available")
    return Waiting("is not available yet")


def _gateway(live: Object) -> State:
    return _accepted(live, status_of(live), ("Accepted", "Programmed")) or Ready("is programmed")


def _gateway_class(live: Object) -> State:
    return _accepted(live, status_of(live), ("Accepted",)) or Ready("is accepted")


#: Reasons of the Gateway API that end without a change.
_TEMPORARY = frozenset({"Pending", "AddressNotAssigned", "NoResources", "Waiting"})


def _accepted(
    live: Object, status: Object, names: tuple[str, ...], reader: str = "its controller"
) -> State | None:
    """None if all conditions are True for the object as it is now."""
    generation = count(mapping(live.get("metadata")), "generation")
    conditions = conditions_of(status)
    for name in names:
        condition = conditions[name]
        if not condition.status or (condition.generation or 0) < generation:
            return Waiting(f"{reader} has not read it yet")
        reason = ": ".join(filter(None, (condition.reason, condition.message)))
        if condition.status == "Unknown" or condition.reason in _TEMPORARY:
            return Waiting(reason or f"its condition {name} is {condition.status}")
        if condition.status != "True":
            return Broken(reason or f"its condition {name} is {condition.status}")
    return None


def route_state(live: Object) -> State:
    """Of a route of the Gateway API: whether each Gateway accepted it."""
    parents = mappings(status_of(live).get("parents"))
    if not parents and spec_of(live).get("parentRefs"):
        return Waiting("no Gateway has accepted it yet")
    states = []
    for parent in parents:
        gateway = f"the Gateway {text(mapping(parent.get('parentRef')), 'name')}"
        match _accepted(live, parent, ("Accepted", "ResolvedRefs"), gateway):
            case Waiting() as state:
                states.append(state)
            case Broken(reason):
                return Broken(f"{gateway}: {reason}")
    return states[0] if states else Ready("is accepted")


_GATEWAY = "gateway.networking.k8s.io"
#: By group and kind.
KINDS: Mapping[tuple[str, str], Rule] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("", "ReplicationController"): _replica_set,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _cron_job,
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("", "PersistentVolumeClaim"): _volume_claim,
    ("", "PersistentVolume"): _volume,
    ("policy", "PodDisruptionBudget"): _disruption_budget,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("", "Namespace"): _namespace,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("apiregistration.k8s.io", "APIService"): _api_service,
    (_GATEWAY, "GatewayClass"): _gateway_class,
    (_GATEWAY, "Gateway"): _gateway,
    **{
        (_GATEWAY, kind): route_state
        for kind in ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute")
    },
}
#: What stages wait for. Others may need something outside of the application, such as a load balancer.
WORKLOADS = frozenset(
    {
        *(("apps", kind) for kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")),
        *(("batch", "Job"), ("", "Pod")),
    }
)
