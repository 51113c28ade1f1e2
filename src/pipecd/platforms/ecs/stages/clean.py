"""ECS_CANARY_CLEAN: the canary goes; its traffic, if it has any, goes to the primary tasks first."""

import json

from pydantic import BaseModel

from pipecd.errors import Refused
from pipecd.model.stage import Done, Outcome, Work
from pipecd.platforms.ecs.stages import task_sets
from pipecd.platforms.ecs.stages.canary import CANARY
from pipecd.platforms.ecs.stages.job import service_job
from pipecd.platforms.ecs.stages.traffic import all_to_primary


async def canary_clean(work: Work[BaseModel]) -> Outcome:
    kept = work.shared.get(CANARY)
    if kept is None:
        raise Refused("there is no canary", remedy="put ECS_CANARY_ROLLOUT before ECS_CANARY_CLEAN")
    canary = str(json.loads(kept)["taskSetArn"])
    async with service_job(work, await work.target()) as job:
        sets = await job.ecs.task_sets(*job.where)
        keep = {one.arn for one in sets} - {canary}
        step = await all_to_primary(job) or await task_sets.retired(job, keep)
        return step or Done(note="The canary is gone")
