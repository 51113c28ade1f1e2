"""What runs of an ECS application: its service, the task sets of that, and their tasks, each with its health.

Called by the agent's live-state loop. A standalone task is not looked for: it ends, as it should.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipecd.model.look import Look
from pipecd.model.resource import Health, Resource
from pipecd.platforms.ecs.client import Service, connect

#: AWS's words of a task's container health.
_TASK_HEALTH = {"HEALTHY": Health.HEALTHY, "UNHEALTHY": Health.UNHEALTHY}
_RUNNING = {"PRIMARY", "ACTIVE"}


async def load_live_state(look: Look) -> Sequence[Resource]:
    wanted = look.desired.service
    if wanted is None:
        return []
    async with connect(look.provider) as ecs:
        service = await ecs.service(wanted.cluster, wanted.name)
        if service is None:
            return []
        sets = await ecs.every_task_set(wanted.cluster, wanted.name) if service.has_task_sets else []
        tasks = await ecs.tasks(wanted.cluster, wanted.name)
    known = {one["taskSetArn"]: one for one in sets}
    return [
        _service(wanted.name, service),
        *(_task_set(service, one) for one in sorted(sets, key=_place)),
        *(_task(service, known, one) for one in sorted(tasks, key=lambda one: str(one["taskArn"]))),
    ]


def _place(task_set: Mapping[str, Any]) -> tuple[bool, str]:
    """The primary one comes first."""
    return task_set["status"] != "PRIMARY", str(task_set["taskSetArn"])


def _service(name: str, live: Service) -> Resource:
    counted = f"{live.running} of {live.desired} tasks run"
    if live.status != "ACTIVE":
        health, why = Health.UNHEALTHY, f"The service is {live.status.lower()}"
    elif live.running < live.desired or live.pending:
        health, why = Health.UNKNOWN, f"{counted}, {live.pending} are starting"
    else:
        health, why = Health.HEALTHY, counted
    if live.rollout == "FAILED":
        health, why = Health.UNHEALTHY, live.rollout_reason or "ECS could not replace the tasks"
    return Resource(
        id=live.arn,
        kind="Service",
        name=name,
        health=health,
        why=why,
        created_at=_seconds(live.fields.get("createdAt")),
    )


def _task_set(service: Service, live: Mapping[str, Any]) -> Resource:
    status = str(live["status"])
    scale = float((live.get("scale") or {}).get("value", 0))
    revision = str(live.get("taskDefinition", "")).rsplit("/", 1)[-1]
    why = f"{status.lower()}, {revision} at {scale:g} %"
    return Resource(
        id=str(live["taskSetArn"]),
        kind="TaskSet",
        name=str(live.get("id") or _last(live["taskSetArn"])),
        parents=(service.arn,),
        health=Health.HEALTHY if status in _RUNNING else Health.UNHEALTHY,
        why=why,
        created_at=_seconds(live.get("createdAt")),
        updated_at=_seconds(live.get("updatedAt")),
        facts={"taskDefinition": revision, "status": status},
    )


def _task(service: Service, sets: Mapping[str, Any], live: Mapping[str, Any]) -> Resource:
    started = live.get("startedBy", "")
    owner = next(
        (arn for arn, one in sets.items() if started and started in (one.get("id"), arn)), service.arn
    )
    status = str(live.get("lastStatus", ""))
    health = _TASK_HEALTH.get(str(live.get("healthStatus", "")), Health.UNKNOWN)
    stopped = str(live.get("stoppedReason", ""))
    unwell = [
        f"{one.get('name')}: {one.get('reason') or str(one.get('healthStatus', '')).lower()}"
        for one in live.get("containers") or []
        if one.get("healthStatus") == "UNHEALTHY" or one.get("reason")
    ]
    checked = "" if health is not Health.UNKNOWN else ", without a health check"
    why = "; ".join([f"{status.lower()}{checked}", *([stopped] if stopped else []), *unwell])
    return Resource(
        id=str(live["taskArn"]),
        kind="Task",
        name=_last(live["taskArn"]),
        parents=(owner,),
        health=Health.UNHEALTHY if stopped else health,
        why=why,
        created_at=_seconds(live.get("createdAt")),
        updated_at=_seconds(live.get("startedAt")),
    )


def _last(arn: Any) -> str:
    return str(arn).rsplit("/", 1)[-1]


def _seconds(at: Any) -> int:
    """AWS's times are datetimes; some answers leave them out."""
    return int(at.timestamp()) if at is not None and hasattr(at, "timestamp") else 0
