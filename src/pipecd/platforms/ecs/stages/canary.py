"""ECS_CANARY_ROLLOUT: starts tasks of the new version next to the primary ones, without traffic."""

import json

from pipecd.errors import Refused
from pipecd.json_input import decode_json
from pipecd.model.stage import Again, Done, Failed, Outcome, Work
from pipecd.platforms.ecs import members
from pipecd.platforms.ecs.client import Service
from pipecd.platforms.ecs.config import CanaryOptions, TargetGroup
from pipecd.platforms.ecs.members import EXTERNAL
from pipecd.platforms.ecs.stages import task_sets
from pipecd.platforms.ecs.stages.job import Job, register_task_definition, service_job
from pipecd.platforms.ecs.stages.service import apply_service, wait_until_stable

#: Shared metadata: the canary's task set, for later stages.
CANARY = "canary-taskset-object"
#: Metadata that the console shows.
SCALE = "canary-scale"


async def canary_rollout(work: Work[CanaryOptions]) -> Outcome:
    async with service_job(work, await work.checkouts.target()) as job:
        group = _canary_group(job)
        revision = await register_task_definition(work, job.client, job.desired.task, job.commit)
        if isinstance(revision, Again):
            return revision
        live = await apply_service(job)
        if not isinstance(live, Service):
            return live
        refuse_rolling(live)
        scale = float(work.options.scale)
        balancers = [members.target_group(group)] if group else []
        # A pipeline may have several canaries.
        keep = {await find_canary(job)}
        new = await task_sets.ensure_task_set(job, revision, scale, balancers, keep=keep)
        if isinstance(new, Again | Failed):
            return new
        if step := await wait_until_stable(job):
            return step
    note = f"The canary is running at {scale:g} % of the service's size; it receives no traffic yet"
    work.log.success(note)
    task_set = json.dumps({"taskSetArn": new.arn, "taskDefinition": new.task_definition})
    return Done(note=note, saved={SCALE: f"{scale:g}"}, shared={CANARY: task_set, SCALE: f"{scale:g}"})


def refuse_rolling(live: Service) -> None:
    if live.controller != EXTERNAL:
        raise Refused(
            f"the deployment controller {live.controller} does not support canaries",
            remedy="create the service with deploymentController.type: EXTERNAL, or use only ECS_SYNC",
        )


def _canary_group(job: Job) -> TargetGroup | None:
    app_input = job.desired.input
    return app_input.target_groups.canary if app_input.access_type == "ELB" else None


async def find_canary(job: Job) -> str:
    """ARN of the task set from this deployment's ECS_CANARY_ROLLOUT; empty if there is none."""
    stored = job.work.shared.get(CANARY)
    if stored is None:
        return ""
    arn = str(decode_json(stored)["taskSetArn"])
    sets = await job.client.list_task_sets(*job.cluster_and_name)
    return arn if any(task_set.arn == arn for task_set in sets) else ""
