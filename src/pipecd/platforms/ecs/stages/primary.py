"""ECS_PRIMARY_ROLLOUT: replaces the primary task set. A canary stays until ECS_CANARY_CLEAN."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from pipecd.errors import Refused
from pipecd.model.stage import Again, Done, Failed, Outcome, Work
from pipecd.platforms.ecs import members
from pipecd.platforms.ecs.client import Service
from pipecd.platforms.ecs.members import ROLLING
from pipecd.platforms.ecs.stages import task_sets
from pipecd.platforms.ecs.stages.canary import find_canary
from pipecd.platforms.ecs.stages.job import Job, Step, register_task_definition, service_job
from pipecd.platforms.ecs.stages.rolling import rolling_update, uses_rolling_update
from pipecd.platforms.ecs.stages.service import apply_service, scale_down, scale_up, wait_until_stable
from pipecd.platforms.ecs.stages.traffic import route_all_to_primary


async def primary_rollout(work: Work[BaseModel]) -> Outcome:
    async with service_job(work, await work.checkouts.target()) as job:
        if job.desired.input.access_type == "ELB" and not primary_balancers(job):
            raise Refused(
                "ECS_PRIMARY_ROLLOUT requires the primary target group",
                remedy="set input.targetGroups.primary, or accessType: SERVICE_DISCOVERY",
            )
        return await replace_primary(job) or Done(note="The new version is running")


async def replace_primary(job: Job, *, recreate: bool = False) -> Step:
    """The steps shared by ECS_SYNC and ECS_PRIMARY_ROLLOUT; None when the new version is running."""
    revision = await register_task_definition(job.work, job.client, job.desired.task, job.commit)
    if isinstance(revision, Again):
        return revision
    if await uses_rolling_update(job):
        return await rolling_update(job, revision, recreate=recreate)
    live = await apply_service(job)
    if not isinstance(live, Service):
        return live
    if live.controller == ROLLING:
        return await rolling_update(job, revision, recreate=recreate)
    if recreate and (step := await scale_down(job, live)):
        return step
    canary = await find_canary(job)
    new = await task_sets.ensure_task_set(job, revision, 100.0, primary_balancers(job), keep={canary})
    if isinstance(new, Again | Failed):
        return new
    return (
        await task_sets.make_primary(job, new)
        or (None if canary else await route_all_to_primary(job))
        or await task_sets.delete_others(job, {new.arn, canary})
        or (await scale_up(job) if recreate else None)
        or await wait_until_stable(job)
    )


def primary_balancers(job: Job) -> Sequence[Mapping[str, Any]]:
    """The load balancers of the primary tasks."""
    return members.load_balancers(job.service.fields, job.desired.input)
