"""What the status of a pod says about its containers."""

from pipecd.platforms.kubernetes.health.fields import (
    Object,
    conditions_of,
    epoch_seconds,
    mapping,
    mappings,
    status_of,
    text,
)

#: Reasons of a waiting container that need a change to go away.
_STUCK = frozenset(
    {
        *("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"),
        *("CreateContainerConfigError", "CreateContainerError", "CrashLoopBackOff", "RunContainerError"),
    }
)


def pod_problem(pod: Object) -> str:
    """Why a pod cannot start, from its status; empty if no reason is known."""
    status = status_of(pod)
    name = text(mapping(pod.get("metadata")), "name")
    for container in (
        *mappings(status.get("initContainerStatuses")),
        *mappings(status.get("containerStatuses")),
    ):
        waiting = mapping(mapping(container.get("state")).get("waiting"))
        if text(waiting, "reason") not in _STUCK:
            continue
        problem = f"pod {name}, container {text(container, 'name')}: {text(waiting, 'reason')}"
        if waiting.get("message"):
            problem += f": {text(waiting, 'message')}"
        ended = mapping(mapping(container.get("lastState")).get("terminated"))
        return problem + (f"; it last exited with code {text(ended, 'exitCode')}" if ended else "")
    for condition in conditions_of(status).values():
        if condition.reason == "Unschedulable":
            return f"pod {name} cannot be scheduled: {condition.message}"
    return ""


def lost_readiness(pod: Object) -> str:
    """Why a pod that runs is not ready any more; empty for one that starts."""
    status = status_of(pod)
    ready = conditions_of(status)["Ready"]
    if status.get("phase") != "Running" or ready.status != "False":
        return ""
    containers = mappings(status.get("containerStatuses"))
    for container in containers:
        ended = mapping(mapping(container.get("lastState")).get("terminated"))
        if ended and not container.get("ready"):
            code = text(ended, "exitCode")
            return f"container {text(container, 'name')} ended with code {code}, and is not ready"
    starts = [
        epoch_seconds(mapping(mapping(container.get("state")).get("running")).get("startedAt"))
        for container in containers
    ]
    if starts and ready.changed_at > max(starts):
        return f"it is not ready any more: {ready.explain('no reason given')}"
    return ""


def is_ready(pod: Object) -> bool:
    """Whether it can get traffic."""
    deleting = mapping(pod.get("metadata")).get("deletionTimestamp")
    return conditions_of(status_of(pod))["Ready"].status == "True" and not deleting
