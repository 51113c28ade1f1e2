"""Steps that create task sets, set the primary one, and delete unused ones."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pipecd.errors import Refused
from pipecd.model.stage import Again, Failed
from pipecd.platforms.ecs import members
from pipecd.platforms.ecs.client import TaskSet
from pipecd.platforms.ecs.stages.job import Job, Step
from pipecd.platforms.ecs.stages.traffic import canary_groups_with_traffic, route_all_to_primary

#: Stage metadata: when the wait started, and the task definitions of deleted task sets, to deregister.
_WAIT_STARTED, _TO_DEREGISTER = "pipecd/steady-since", "pipecd/retiring"
#: Stage metadata: when the wait for the deletion of old task sets started.
_FREE_SINCE, _DRAINING = "pipecd/room-since", "Waiting for the tasks of old task sets to stop"
#: AWS's limit of task sets of a service, including those whose tasks are still being stopped.
MAX_TASK_SETS = 5


async def ensure_task_set(
    job: Job,
    revision: str,
    scale: float,
    balancers: Sequence[Mapping[str, Any]],
    *,
    keep: Collection[str] = (),
) -> Again | Failed | TaskSet:
    """This stage's task set when its tasks are running and healthy, or the step towards that.

    Before it is created, task sets of cancelled deployments are deleted, except those in `keep`.
    """
    task_set = await _find_own(job)
    if task_set is None:
        if step := await _make_room(job, keep):
            return step
        await job.client.create_task_set(_fields(job, revision, scale, balancers), job.tags)
        job.work.log.info(f"Created a task set for {revision.rsplit('/', 1)[-1]} at {scale:g} %")
        return Again(saved={_WAIT_STARTED: str(job.work.now)}, note="Created a task set")
    if task_set.steady:
        return task_set
    if _WAIT_STARTED not in job.work.saved:
        return Again(saved={_WAIT_STARTED: str(job.work.now)})
    if job.wait_timed_out(_WAIT_STARTED):
        live = await job.client.get_service(*job.cluster_and_name)
        return Failed(
            reason=f"the new tasks are not healthy after 10 minutes: {live.event if live else ''}",
            remedy="check the service's events and the stopped reason of its tasks",
        )
    delay = job.poll_delay(_WAIT_STARTED)
    return Again(after=delay, note="Waiting for the new tasks to be running and healthy")


async def _find_own(job: Job) -> TaskSet | None:
    sets = await job.client.list_task_sets(*job.cluster_and_name)
    return next((task_set for task_set in sets if task_set.external_id == job.idempotency_token), None)


async def _make_room(job: Job, keep: Collection[str]) -> Step:
    """One step towards deleting unused task sets; None when a new one can be created.

    Nothing that receives traffic is deleted, until the limit requires it: then the traffic is routed first.
    """
    sets = await job.client.list_task_sets(*job.cluster_and_name)
    unused = {task_set.arn for task_set in sets if task_set.status != "PRIMARY" and task_set.managed_by_piped}
    unused -= set(keep)
    existing = await job.client.describe_task_sets(*job.cluster_and_name)
    full = len(existing) >= MAX_TASK_SETS
    if unused:
        canary = await canary_groups_with_traffic(job)
        if isinstance(canary, Again):
            return canary
        if full and canary and (step := await route_all_to_primary(job)):
            return step
        unused -= {
            task_set.arn for task_set in sets if not full and not canary.isdisjoint(task_set.target_groups)
        }
    if step := await delete_others(job, {task_set.arn for task_set in sets} - unused):
        return step
    if not full:
        return None
    if not any(task_set["status"] == "DRAINING" for task_set in existing):
        raise Refused(
            f"the service {job.service.name} has {len(existing)} task sets, and AWS allows {MAX_TASK_SETS}",
            remedy="delete task sets that are no longer used, then sync again",
        )
    if _FREE_SINCE not in job.work.saved:
        return Again(
            after=job.poll_delay(_FREE_SINCE), saved={_FREE_SINCE: str(job.work.now)}, note=_DRAINING
        )
    if job.wait_timed_out(_FREE_SINCE):
        return Failed(
            reason="old task sets were not deleted within 10 minutes",
            remedy="check the service's events and the tasks that do not stop",
        )
    return Again(after=job.poll_delay(_FREE_SINCE), note=_DRAINING)


def _fields(job: Job, revision: str, scale: float, balancers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    cluster, service = job.cluster_and_name
    return {
        "cluster": cluster,
        "service": service,
        "taskDefinition": revision,
        "externalId": job.idempotency_token,
        "clientToken": job.idempotency_token,
        "scale": {"value": scale, "unit": "PERCENT"},
        **members.task_set(job.service.fields),
        **({"loadBalancers": list(balancers)} if balancers else {}),
    }


async def make_primary(job: Job, task_set: TaskSet) -> Step:
    if task_set.status == "PRIMARY":
        return None
    await job.client.make_primary(*job.cluster_and_name, task_set.arn)
    job.work.log.info("The new task set is now primary")
    return Again(note="The new task set is now primary")


async def delete_others(job: Job, keep: Collection[str]) -> Step:
    """Deletes every managed task set except those in `keep`, then their task definitions, one per call.

    A task definition is stored before its task set is deleted, because it is unknown afterwards.
    """
    sets = await job.client.list_task_sets(*job.cluster_and_name)
    unused = [task_set for task_set in sets if task_set.managed_by_piped and task_set.arn not in keep]
    # A rollback may call this for two services.
    key = f"{_TO_DEREGISTER}/{job.service.name}"
    to_deregister = [arn for arn in job.work.saved.get(key, "").split(",") if arn]
    if unused:
        task_set = unused[0]
        if task_set.task_definition and task_set.task_definition not in to_deregister:
            return Again(saved={key: ",".join([*to_deregister, task_set.task_definition])})
        await job.client.delete_task_set(*job.cluster_and_name, task_set.arn)
        job.work.log.info(f"Deleted task set {task_set.arn.rsplit('/', 1)[-1]}")
        return Again(note="Deleted an unused task set")
    if not to_deregister:
        return None
    first, rest = to_deregister[0], to_deregister[1:]
    if all(task_set.task_definition != first for task_set in sets):
        await job.client.deregister_task_definition(first)
    return Again(saved={key: ",".join(rest)})
