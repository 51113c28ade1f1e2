"""ECS_PRIMARY_ROLLOUT: the new version replaces the primary task set. A canary stays until it is cleaned."""

from pydantic import BaseModel

from pipecd.errors import Refused
from pipecd.model.stage import Again, Done, Failed, Outcome, Work
from pipecd.platforms.ecs.client import Service
from pipecd.platforms.ecs.config import TargetGroup
from pipecd.platforms.ecs.source import ROLLING
from pipecd.platforms.ecs.stages import task_sets
from pipecd.platforms.ecs.stages.canary import canary_of
from pipecd.platforms.ecs.stages.job import Job, Step, registered, service_job
from pipecd.platforms.ecs.stages.rolling import replaced_by_ecs, rolling
from pipecd.platforms.ecs.stages.service import applied, scaled_down, scaled_up, stable
from pipecd.platforms.ecs.stages.traffic import all_to_primary


async def primary_rollout(work: Work[BaseModel]) -> Outcome:
    async with service_job(work, await work.target()) as job:
        given = job.wanted.input
        if given.access_type == "ELB" and not given.target_groups.primary:
            raise Refused(
                "ECS_PRIMARY_ROLLOUT needs the primary target group",
                remedy="write input.targetGroups.primary, or accessType: SERVICE_DISCOVERY",
            )
        return await replaced(job) or Done(note="The new version runs")


async def replaced(job: Job, *, recreate: bool = False) -> Step:
    """The steps that ECS_SYNC and ECS_PRIMARY_ROLLOUT share; None when the new version runs."""
    revision = await registered(job.work, job.ecs, job.wanted.task, job.commit)
    if isinstance(revision, Again):
        return revision
    if await rolling(job):
        return await replaced_by_ecs(job, revision, recreate=recreate)
    live = await applied(job)
    if not isinstance(live, Service):
        return live
    if live.controller == ROLLING:
        return await replaced_by_ecs(job, revision, recreate=recreate)
    if recreate and (step := await scaled_down(job, live)):
        return step
    new = await task_sets.made(job, revision, 100.0, primary_group(job))
    if isinstance(new, Again | Failed):
        return new
    canary = await canary_of(job)
    return (
        await task_sets.primary(job, new)
        or (None if canary else await all_to_primary(job))
        or await task_sets.retired(job, {new.arn, canary})
        or (await scaled_up(job) if recreate else None)
        or await stable(job)
    )


def primary_group(job: Job) -> TargetGroup | None:
    given = job.wanted.input
    return given.target_groups.primary if given.access_type == "ELB" else None
