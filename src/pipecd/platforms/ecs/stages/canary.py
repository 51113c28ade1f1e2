"""ECS_CANARY_ROLLOUT: some tasks of the new version beside the primary ones, without traffic."""

import json

from pipecd.errors import Refused
from pipecd.model.stage import Again, Done, Failed, Outcome, Work
from pipecd.platforms.ecs.client import Service
from pipecd.platforms.ecs.config import CanaryOptions, TargetGroup
from pipecd.platforms.ecs.source import EXTERNAL
from pipecd.platforms.ecs.stages import task_sets
from pipecd.platforms.ecs.stages.job import Job, registered, service_job
from pipecd.platforms.ecs.stages.service import applied, stable

#: Shared metadata: the canary's task set, for the stages that come after.
CANARY = "canary-taskset-object"
#: Metadata that the console shows.
SCALE = "canary-scale"


async def canary_rollout(work: Work[CanaryOptions]) -> Outcome:
    async with service_job(work, await work.target()) as job:
        group = _group(job)
        revision = await registered(work, job.ecs, job.wanted.task, job.commit)
        if isinstance(revision, Again):
            return revision
        live = await applied(job)
        if not isinstance(live, Service):
            return live
        refuse_rolling(live)
        scale = float(work.options.scale)
        new = await task_sets.made(job, revision, scale, group)
        if isinstance(new, Again | Failed):
            return new
        if step := await stable(job):
            return step
    note = f"The canary runs at {scale:g} % of the service's size, and gets no traffic yet"
    work.log.success(note)
    kept = json.dumps({"taskSetArn": new.arn, "taskDefinition": new.task_definition})
    return Done(note=note, saved={SCALE: f"{scale:g}"}, shared={CANARY: kept, SCALE: f"{scale:g}"})


def refuse_rolling(live: Service) -> None:
    if live.controller != EXTERNAL:
        raise Refused(
            f"a service with the deployment controller {live.controller} has no canaries",
            remedy="make the service with deploymentController.type: EXTERNAL, or use ECS_SYNC alone",
        )


def _group(job: Job) -> TargetGroup | None:
    given = job.wanted.input
    if given.access_type != "ELB":
        return None
    if given.target_groups.canary is None:
        raise Refused(
            "ECS_CANARY_ROLLOUT needs the canary target group",
            remedy="write input.targetGroups.canary, or accessType: SERVICE_DISCOVERY",
        )
    return given.target_groups.canary


async def canary_of(job: Job) -> str:
    """The task set that ECS_CANARY_ROLLOUT of this deployment left; empty when there is none."""
    kept = job.work.shared.get(CANARY)
    if kept is None:
        return ""
    arn = str(json.loads(kept)["taskSetArn"])
    return arn if any(one.arn == arn for one in await job.ecs.task_sets(*job.where)) else ""
