"""ROLLBACK: restores the traffic first, then the previous version, then deletes everything else.

If the previous task set still runs, it is kept and nothing has to be started.
"""

from pydantic import BaseModel

from pipecd.errors import ConfigError
from pipecd.model.stage import Again, Done, Failed, Outcome, Work
from pipecd.platforms import aws
from pipecd.platforms.ecs.client import Service, TaskSet, connect
from pipecd.platforms.ecs.members import ROLLING
from pipecd.platforms.ecs.source import load_desired_state, load_if_used
from pipecd.platforms.ecs.stages import task_sets
from pipecd.platforms.ecs.stages.job import Job, Step, register_task_definition, service_job
from pipecd.platforms.ecs.stages.primary import primary_balancers
from pipecd.platforms.ecs.stages.rolling import rolling_update, uses_rolling_update
from pipecd.platforms.ecs.stages.service import COUNT_BEFORE, apply_service, restore_count, wait_until_stable
from pipecd.platforms.ecs.stages.traffic import route_all_to_primary


async def ecs_rollback(work: Work[BaseModel]) -> Outcome:
    source = await work.checkouts.running()
    if load_if_used(source, deployed=True) is None:
        return Done(note="The previous version has no task definition; there is nothing to restore")
    if not source.config.spec.input.service_definition_file:
        return await _roll_back_standalone_task(work)
    async with service_job(work, source, deployed=True) as job:
        step = await _restore(job) or await _empty_other_service(job)
        return step or Done(note="The previous version is running again")


async def _roll_back_standalone_task(work: Work[BaseModel]) -> Outcome:
    """A finished task cannot be undone; this makes the previous version the newest revision again."""
    source = await work.checkouts.running()
    async with connect(work.provider) as client:
        revision = await register_task_definition(
            work, client, load_desired_state(source, deployed=True).task, source.commit
        )
    if isinstance(revision, Again):
        return revision
    return Done(
        note=f"Registered {revision.rsplit('/', 1)[-1]} with the previous version; no task was started"
    )


async def _restore(job: Job) -> Step:
    if step := await route_all_to_primary(job):
        return step
    if await uses_rolling_update(job):
        return await _roll_back_rolling_update(job)
    live = await apply_service(job)
    if not isinstance(live, Service):
        return live
    if live.controller == ROLLING:
        return await _roll_back_rolling_update(job)
    if step := await restore_count(job, int(job.work.shared.get(COUNT_BEFORE, "0"))):
        return step
    old = await _find_previous_primary(job) or await _start_again(job)
    if isinstance(old, Again | Failed):
        return old
    return (
        await task_sets.make_primary(job, old)
        or await task_sets.delete_others(job, {old.arn})
        or await wait_until_stable(job)
    )


async def _roll_back_rolling_update(job: Job) -> Step:
    revision = await register_task_definition(job.work, job.client, job.desired.task, job.commit)
    if isinstance(revision, Again):
        return revision
    if step := await restore_count(job, int(job.work.shared.get(COUNT_BEFORE, "0"))):
        return step
    return await rolling_update(job, revision, recreate=False)


async def _find_previous_primary(job: Job) -> TaskSet | None:
    """The primary task set from before the deployment, if nothing has replaced it yet."""
    for task_set in await job.client.list_task_sets(*job.cluster_and_name):
        same_commit = task_set.tags.get(aws.COMMIT) == job.work.deployment.running_commit
        if task_set.status == "PRIMARY" and task_set.managed_by_piped and same_commit and task_set.steady:
            return task_set
    return None


async def _start_again(job: Job) -> Again | Failed | TaskSet:
    revision = await register_task_definition(job.work, job.client, job.desired.task, job.commit)
    if isinstance(revision, Again):
        return revision
    return await task_sets.ensure_task_set(job, revision, 100.0, primary_balancers(job))


async def _empty_other_service(job: Job) -> Step:
    """Deletes what the failed commit started in another service, if it named one."""
    source = await job.work.checkouts.target()
    try:
        desired = load_desired_state(source, deployed=True)
    except ConfigError:
        return None
    if desired.service is None or (desired.service.cluster, desired.service.name) == job.cluster_and_name:
        return None
    other = Job(
        work=job.work, client=job.client, desired=desired, service=desired.service, commit=source.commit
    )
    live = await other.client.get_service(*other.cluster_and_name)
    if live is None or live.tags.get(aws.APPLICATION) != job.work.application.id:
        return None
    return await task_sets.delete_others(other, set())
