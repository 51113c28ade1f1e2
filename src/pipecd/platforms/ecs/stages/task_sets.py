"""Steps that make task sets, choose the primary one, and delete those that are over."""

from collections.abc import Collection
from typing import Any

from pipecd.model.stage import Again, Failed
from pipecd.platforms.ecs.client import TaskSet
from pipecd.platforms.ecs.config import TargetGroup
from pipecd.platforms.ecs.stages.job import POLL_SECONDS, Job, Step

#: Stage metadata: when waiting began; task definitions of task sets that were deleted, to deregister.
_STEADY_SINCE, _RETIRING = "pipecd/steady-since", "pipecd/retiring"
_OF_THE_SERVICE = ("launchType", "networkConfiguration", "serviceRegistries", "platformVersion")


async def made(job: Job, revision: str, scale: float, group: TargetGroup | None) -> Again | Failed | TaskSet:
    """This stage's task set, once its tasks run and are healthy."""
    found = await _own(job)
    if found is None:
        await job.ecs.create_task_set(_fields(job, revision, scale, group), job.tags)
        job.work.log.info(f"Created a task set of {revision.rsplit('/', 1)[-1]} at {scale:g} %")
        return Again(saved={_STEADY_SINCE: str(job.work.now)}, note="Created a task set")
    if found.steady:
        return found
    if _STEADY_SINCE not in job.work.saved:
        return Again(saved={_STEADY_SINCE: str(job.work.now)})
    if job.waited_too_long(_STEADY_SINCE):
        live = await job.ecs.service(*job.where)
        return Failed(
            reason=f"the new tasks are not steady after 10 minutes: {live.event if live else ''}",
            remedy="look at the events of the service and at why its tasks stopped",
        )
    return Again(after=POLL_SECONDS, note="Waiting until the new tasks run and are healthy")


async def _own(job: Job) -> TaskSet | None:
    sets = await job.ecs.task_sets(*job.where)
    return next((one for one in sets if one.mark == job.mark), None)


def _fields(job: Job, revision: str, scale: float, group: TargetGroup | None) -> dict[str, Any]:
    cluster, service = job.where
    written = {name: job.service.fields[name] for name in _OF_THE_SERVICE if name in job.service.fields}
    return {
        "cluster": cluster,
        "service": service,
        "taskDefinition": revision,
        "externalId": job.mark,
        "clientToken": job.mark,
        "scale": {"value": scale, "unit": "PERCENT"},
        **written,
        **({"loadBalancers": [_load_balancer(group)]} if group else {}),
    }


def _load_balancer(group: TargetGroup) -> dict[str, Any]:
    made: dict[str, Any] = {"targetGroupArn": group.target_group_arn}
    if group.container_name:
        made |= {"containerName": group.container_name, "containerPort": group.container_port}
    return made | ({"loadBalancerName": group.load_balancer_name} if group.load_balancer_name else {})


async def primary(job: Job, one: TaskSet) -> Step:
    if one.status == "PRIMARY":
        return None
    await job.ecs.make_primary(*job.where, one.arn)
    job.work.log.info("The new task set is the primary one")
    return Again(note="Made the new task set the primary one")


async def retired(job: Job, keep: Collection[str]) -> Step:
    """Deletes every task set of ours but those in `keep`, and then their task definitions, one a call.

    What is to be deregistered is stored before the task set is deleted: afterwards nobody could tell.
    """
    sets = await job.ecs.task_sets(*job.where)
    over = [one for one in sets if one.ours and one.arn not in keep]
    # A rollback may do this for two services.
    key = f"{_RETIRING}/{job.service.name}"
    retiring = [arn for arn in job.work.saved.get(key, "").split(",") if arn]
    if over:
        one = over[0]
        if one.task_definition and one.task_definition not in retiring:
            return Again(saved={key: ",".join([*retiring, one.task_definition])})
        await job.ecs.delete_task_set(*job.where, one.arn)
        job.work.log.info(f"Deleted task set {one.arn.rsplit('/', 1)[-1]}")
        return Again(note="Deleted a task set that is over")
    if not retiring:
        return None
    first, rest = retiring[0], retiring[1:]
    if all(one.task_definition != first for one in sets):
        await job.ecs.deregister(first)
    return Again(saved={key: ",".join(rest)})
