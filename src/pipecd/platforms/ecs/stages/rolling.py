"""Rolling updates of services with the deployment controller ECS: ECS itself replaces the tasks.

Such services have no task sets and no canaries. The service is updated to the new task definition, and the
stage waits for ECS. The stage fails if ECS's deployment fails or its circuit breaker rolls back.
"""

from typing import Any

from pipecd.errors import Refused
from pipecd.model.stage import Again, Failed
from pipecd.platforms.ecs import members
from pipecd.platforms.ecs.client import Service
from pipecd.platforms.ecs.members import ROLLING
from pipecd.platforms.ecs.stages.job import POLL_INTERVAL, Job, Step
from pipecd.platforms.ecs.stages.service import (
    desired_count_change,
    get_existing_service,
    scale_down,
    scale_up,
    tag_service,
    wait_until_stable,
)

#: Stage metadata: the service was updated to this stage's task definition.
_UPDATED = "pipecd/revision-given"


async def uses_rolling_update(job: Job) -> bool:
    """Whether the file sets the controller ECS and the live service, if any, has it too."""
    if job.service.controller != ROLLING:
        return False
    live = await job.client.get_service(*job.cluster_and_name)
    return live is None or live.controller == ROLLING


async def rolling_update(job: Job, revision: str, *, recreate: bool) -> Step:
    live = await get_existing_service(job)
    if isinstance(live, Again):
        return live
    if live is None:
        return await _create(job, revision)
    job.desired.require_supported(live.controller)
    _refuse_fixed(job, live)
    if recreate and (step := await scale_down(job, live)):
        return step
    if _UPDATED not in job.work.saved:
        return await _update(job, live, revision)
    return (
        await tag_service(job, live)
        or (await scale_up(job) if recreate else None)
        or _check_rollout(live, revision)
        or await wait_until_stable(job)
    )


async def _create(job: Job, revision: str) -> Again:
    fields = members.creation(job.service.fields, ROLLING)
    # A DAEMON service runs one task per instance and has no count.
    count = {} if fields.get("schedulingStrategy") == "DAEMON" else {"desiredCount": 0}
    request = {"taskDefinition": revision, "clientToken": job.idempotency_token, **_load_balancers(job)}
    await job.client.create_service({**count, **fields, **request}, job.tags)
    job.work.log.info(f"Created service {job.service.name}")
    return Again(saved={_UPDATED: revision}, note=f"Created service {job.service.name}")


async def _update(job: Job, live: Service, revision: str) -> Again:
    if live.task_definition != revision:
        fields = members.update(job.service.fields, live.fields, ROLLING)
        count = await desired_count_change(job, live)
        request = {**fields, "taskDefinition": revision, **_load_balancers(job)}
        await job.client.update_service(
            *job.cluster_and_name, request if count is None else {**request, "desiredCount": count}
        )
        job.work.log.info(f"ECS is replacing the tasks by {revision.rsplit('/', 1)[-1]}")
    return Again(saved={_UPDATED: revision}, note="ECS is replacing the tasks")


def _check_rollout(live: Service, revision: str) -> Step:
    """None when ECS has completed the update."""
    if live.task_definition != revision:
        current = live.task_definition.rsplit("/", 1)[-1]
        return Failed(
            reason=f"the service was changed to {current} instead: {live.event}",
            remedy="check the service's events for a circuit breaker rollback or a manual change",
        )
    if live.rollout == "FAILED":
        return Failed(
            reason=f"the ECS deployment failed: {live.rollout_reason}",
            remedy="check the stopped reason of the service's tasks",
        )
    if live.rollout == "IN_PROGRESS":
        return Again(after=POLL_INTERVAL, note=live.rollout_reason or "ECS is replacing the tasks")
    return None


def _refuse_fixed(job: Job, live: Service) -> None:
    """Raises Refused if the file has another value than the service for a field that AWS cannot change."""
    if job.desired.deployed:
        return
    names = ["schedulingStrategy"]
    if not live.fields.get("capacityProviderStrategy") and not job.service.fields.get(
        "capacityProviderStrategy"
    ):
        names.append("launchType")
    for name in names:
        current, desired = live.fields.get(name), job.service.fields.get(name)
        if current and desired and current != desired:
            raise Refused(
                f"the service {job.service.name} has {name} {current}, which AWS cannot change to {desired}",
                remedy=f"set {name}: {current}, or delete the service first",
            )


def _load_balancers(job: Job) -> dict[str, Any]:
    """An empty list in the file removes the balancers of the service."""
    balancers = members.load_balancers(job.service.fields, job.desired.input)
    return {"loadBalancers": balancers} if balancers or "loadBalancers" in job.service.fields else {}
