"""ROLLBACK: traffic goes back first, then what ran before is made to run again, then the rest is deleted.

Where the task set from before still runs, it is kept, and nothing has to be started.
"""

from pydantic import BaseModel

from pipecd.errors import ConfigError
from pipecd.model.stage import Again, Done, Failed, Outcome, Work
from pipecd.platforms import aws
from pipecd.platforms.ecs.client import Service, TaskSet, connect
from pipecd.platforms.ecs.source import ROLLING, desired
from pipecd.platforms.ecs.stages import task_sets
from pipecd.platforms.ecs.stages.job import Job, Step, registered, service_job
from pipecd.platforms.ecs.stages.primary import primary_group
from pipecd.platforms.ecs.stages.rolling import replaced_by_ecs, rolling
from pipecd.platforms.ecs.stages.service import COUNT_BEFORE, applied, stable, with_count
from pipecd.platforms.ecs.stages.traffic import all_to_primary


async def ecs_rollback(work: Work[BaseModel]) -> Outcome:
    source = await work.running()
    wanted = desired(source)
    if wanted.service is None:
        return await _standalone(work)
    async with service_job(work, source) as job:
        step = await _restored(job) or await _other_service_emptied(job)
        return step or Done(note="What ran before the deployment runs again")


async def _standalone(work: Work[BaseModel]) -> Outcome:
    """A task that ran cannot be undone; who starts the family's newest revision gets the old one again."""
    source = await work.running()
    async with connect(work.provider) as ecs:
        revision = await registered(work, ecs, desired(source).task, source.commit)
    if isinstance(revision, Again):
        return revision
    return Done(note=f"Registered {revision.rsplit('/', 1)[-1]} as before; no task was started")


async def _restored(job: Job) -> Step:
    if step := await all_to_primary(job):
        return step
    if await rolling(job):
        return await _rolled_back_by_ecs(job)
    live = await applied(job)
    if not isinstance(live, Service):
        return live
    if live.controller == ROLLING:
        return await _rolled_back_by_ecs(job)
    if step := await with_count(job, int(job.work.shared.get(COUNT_BEFORE, "0"))):
        return step
    old = await _still_running(job) or await _started_again(job)
    if isinstance(old, Again | Failed):
        return old
    return await task_sets.primary(job, old) or await task_sets.retired(job, {old.arn}) or await stable(job)


async def _rolled_back_by_ecs(job: Job) -> Step:
    revision = await registered(job.work, job.ecs, job.wanted.task, job.commit)
    if isinstance(revision, Again):
        return revision
    if step := await with_count(job, int(job.work.shared.get(COUNT_BEFORE, "0"))):
        return step
    return await replaced_by_ecs(job, revision, recreate=False)


async def _still_running(job: Job) -> TaskSet | None:
    """The primary task set from before the deployment, if nothing has replaced it yet."""
    for one in await job.ecs.task_sets(*job.where):
        of_the_commit = one.tags.get(aws.COMMIT) == job.work.deployment.running_commit
        if one.status == "PRIMARY" and one.ours and of_the_commit and one.steady:
            return one
    return None


async def _started_again(job: Job) -> Again | Failed | TaskSet:
    revision = await registered(job.work, job.ecs, job.wanted.task, job.commit)
    if isinstance(revision, Again):
        return revision
    return await task_sets.made(job, revision, 100.0, primary_group(job))


async def _other_service_emptied(job: Job) -> Step:
    """The failed commit may have named another service: what it started there goes too."""
    source = await job.work.target()
    try:
        wanted = desired(source)
    except ConfigError:
        return None
    if wanted.service is None or (wanted.service.cluster, wanted.service.name) == job.where:
        return None
    other = Job(work=job.work, ecs=job.ecs, wanted=wanted, service=wanted.service, commit=source.commit)
    live = await other.ecs.service(*other.where)
    if live is None or live.tags.get(aws.APPLICATION) != job.work.application.id:
        return None
    return await task_sets.retired(other, set())
