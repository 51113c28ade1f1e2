"""Services with the deployment controller ECS: ECS itself replaces the tasks, a few at a time.

There are no task sets and no canaries then. The new task definition is given to the service, and ECS is
waited for; a deployment that ECS gives up, or takes back by its circuit breaker, fails the stage.
"""

from typing import Any

from pipecd.model.stage import Again, Failed
from pipecd.platforms.ecs.client import Service
from pipecd.platforms.ecs.source import ROLLING
from pipecd.platforms.ecs.stages.job import POLL_SECONDS, Job, Step
from pipecd.platforms.ecs.stages.service import count_to_set, existing, scaled_down, scaled_up, stable, tag

#: Stage metadata: the service was given this stage's task definition.
_GIVEN = "pipecd/revision-given"
#: Members of UpdateService that are taken from the file, where it has them.
_CHANGED = (
    "deploymentConfiguration",
    "enableECSManagedTags",
    "enableExecuteCommand",
    "healthCheckGracePeriodSeconds",
    "networkConfiguration",
    "placementConstraints",
    "placementStrategy",
    "platformVersion",
    "propagateTags",
    "serviceRegistries",
)
_CREATED = (
    *_CHANGED,
    "cluster",
    "serviceName",
    "desiredCount",
    "deploymentController",
    "launchType",
    "role",
    "schedulingStrategy",
)


async def rolling(job: Job) -> bool:
    """Whether the file says that ECS replaces the tasks, and no live service says otherwise."""
    if job.service.controller != ROLLING:
        return False
    live = await job.ecs.service(*job.where)
    return live is None or live.controller == ROLLING


async def replaced_by_ecs(job: Job, revision: str, *, recreate: bool) -> Step:
    live = await existing(job)
    if isinstance(live, Again):
        return live
    if live is None:
        return await _create(job, revision)
    if recreate and (step := await scaled_down(job, live)):
        return step
    if _GIVEN not in job.work.saved:
        return await _give(job, live, revision)
    return (
        await tag(job, live)
        or (await scaled_up(job) if recreate else None)
        or _followed(live, revision)
        or await stable(job)
    )


async def _create(job: Job, revision: str) -> Again:
    fields = {name: job.service.fields[name] for name in _CREATED if name in job.service.fields}
    # A DAEMON has as many tasks as there are instances, and no count.
    count = {} if fields.get("schedulingStrategy") == "DAEMON" else {"desiredCount": 0}
    given = {"taskDefinition": revision, "clientToken": job.mark, **_load_balancers(job)}
    await job.ecs.create_service({**count, **fields, **given}, job.tags)
    job.work.log.info(f"Created service {job.service.name}")
    return Again(saved={_GIVEN: revision}, note=f"Created service {job.service.name}")


async def _give(job: Job, live: Service, revision: str) -> Again:
    if live.task_definition != revision:
        fields = {name: job.service.fields[name] for name in _CHANGED if name in job.service.fields}
        count = await count_to_set(job, live)
        changed = {**fields, "taskDefinition": revision, **_load_balancers(job)}
        await job.ecs.update_service(
            *job.where, changed if count is None else {**changed, "desiredCount": count}
        )
        job.work.log.info(f"ECS replaces the tasks by {revision.rsplit('/', 1)[-1]}")
    return Again(saved={_GIVEN: revision}, note="ECS replaces the tasks")


def _followed(live: Service, revision: str) -> Step:
    """Whether ECS has come to the end of what it was given."""
    if live.task_definition != revision:
        return Failed(
            reason=f"the service went to {live.task_definition.rsplit('/', 1)[-1]} instead: {live.event}",
            remedy="look at the events of the service: its circuit breaker, or somebody else, took it back",
        )
    if live.rollout == "FAILED":
        return Failed(
            reason=f"ECS gave up: {live.rollout_reason}", remedy="look at why the service's tasks stopped"
        )
    if live.rollout == "IN_PROGRESS":
        return Again(after=POLL_SECONDS, note=live.rollout_reason or "ECS replaces the tasks")
    return None


def _load_balancers(job: Job) -> dict[str, Any]:
    group = job.wanted.input.target_groups.primary
    if job.wanted.input.access_type != "ELB" or group is None:
        return {}
    made: dict[str, Any] = {"targetGroupArn": group.target_group_arn}
    if group.container_name:
        made |= {"containerName": group.container_name, "containerPort": group.container_port}
    return {"loadBalancers": [made]}
