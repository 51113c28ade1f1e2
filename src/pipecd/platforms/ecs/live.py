"""Live state of an ECS application: its service, the service's task sets, and their tasks, with their health.

Called by the agent's live-state loop. Standalone tasks are not reported, because they end by design.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipecd.model.observation import ObservationRequest
from pipecd.model.resource import Health, Resource
from pipecd.platforms.ecs.client import Service, connect

#: AWS's values of a task's health.
_TASK_HEALTH = {"HEALTHY": Health.HEALTHY, "UNHEALTHY": Health.UNHEALTHY}
_RUNNING = {"PRIMARY", "ACTIVE"}


async def load_live_state(request: ObservationRequest) -> Sequence[Resource]:
    desired = request.desired.service if request.desired else None
    if desired is None:
        return []
    async with connect(request.provider) as client:
        service = await client.get_service(desired.cluster, desired.name)
        if service is None:
            return []
        sets = await client.describe_task_sets(desired.cluster, desired.name) if service.has_task_sets else []
        tasks = await client.list_tasks(desired.cluster, desired.name)
    sets_by_arn = {task_set["taskSetArn"]: task_set for task_set in sets}
    return [
        _service(desired.name, service),
        *(_task_set(service, task_set) for task_set in sorted(sets, key=_primary_first)),
        *(_task(service, sets_by_arn, task) for task in sorted(tasks, key=lambda task: str(task["taskArn"]))),
    ]


def _primary_first(task_set: Mapping[str, Any]) -> tuple[bool, str]:
    """A sort key."""
    return task_set["status"] != "PRIMARY", str(task_set["taskSetArn"])


def _service(name: str, live: Service) -> Resource:
    counts = f"{live.running} of {live.desired_count} tasks are running"
    if live.status != "ACTIVE":
        health, reason = Health.UNHEALTHY, f"The service is {live.status.lower()}"
    elif live.running < live.desired_count or live.pending:
        health, reason = Health.UNKNOWN, f"{counts}, {live.pending} are starting"
    else:
        health, reason = Health.HEALTHY, counts
    if live.rollout == "FAILED":
        health, reason = Health.UNHEALTHY, live.rollout_reason or "ECS could not replace the tasks"
    return Resource(
        id=live.arn,
        kind="Service",
        name=name,
        health=health,
        health_reason=reason,
        created_at=_seconds(live.fields.get("createdAt")),
    )


def _task_set(service: Service, live: Mapping[str, Any]) -> Resource:
    status = str(live["status"])
    scale = float((live.get("scale") or {}).get("value", 0))
    revision = str(live.get("taskDefinition", "")).rsplit("/", 1)[-1]
    reason = f"{status.lower()}, {revision} at {scale:g} %"
    return Resource(
        id=str(live["taskSetArn"]),
        kind="TaskSet",
        name=str(live.get("id") or _short_name(live["taskSetArn"])),
        parents=(service.arn,),
        health=Health.HEALTHY if status in _RUNNING else Health.UNHEALTHY,
        health_reason=reason,
        created_at=_seconds(live.get("createdAt")),
        updated_at=_seconds(live.get("updatedAt")),
        metadata={"taskDefinition": revision, "status": status},
    )


def _task(service: Service, sets: Mapping[str, Any], live: Mapping[str, Any]) -> Resource:
    started_by = live.get("startedBy", "")
    owner = next(
        (arn for arn, task_set in sets.items() if started_by and started_by in (task_set.get("id"), arn)),
        service.arn,
    )
    status = str(live.get("lastStatus", ""))
    health = _TASK_HEALTH.get(str(live.get("healthStatus", "")), Health.UNKNOWN)
    stopped_reason = str(live.get("stoppedReason", ""))
    unhealthy = [
        _describe_container(container)
        for container in live.get("containers") or []
        if container.get("healthStatus") == "UNHEALTHY" or container.get("reason")
    ]
    health_check = "" if health is not Health.UNKNOWN else ", without a health check"
    reason = "; ".join(
        [f"{status.lower()}{health_check}", *([stopped_reason] if stopped_reason else []), *unhealthy]
    )
    return Resource(
        id=str(live["taskArn"]),
        kind="Task",
        name=_short_name(live["taskArn"]),
        parents=(owner,),
        health=Health.UNHEALTHY if stopped_reason else health,
        health_reason=reason,
        created_at=_seconds(live.get("createdAt")),
        updated_at=_seconds(live.get("startedAt")),
    )


def _describe_container(container: Mapping[str, Any]) -> str:
    reason = container.get("reason") or str(container.get("healthStatus", "")).lower()
    return f"{container.get('name')}: {reason}"


def _short_name(arn: Any) -> str:
    return str(arn).rsplit("/", 1)[-1]


def _seconds(at: Any) -> int:
    """Epoch seconds of a datetime; 0 if the response has none."""
    return int(at.timestamp()) if at is not None and hasattr(at, "timestamp") else 0
