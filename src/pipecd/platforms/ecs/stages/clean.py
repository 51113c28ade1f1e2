"""ECS_CANARY_CLEAN: deletes the canary, after routing its remaining traffic to the primary tasks."""

from pydantic import BaseModel

from pipecd.errors import Refused
from pipecd.json_input import decode_json
from pipecd.model.stage import Done, Outcome, Work
from pipecd.platforms.ecs.stages import task_sets
from pipecd.platforms.ecs.stages.canary import CANARY
from pipecd.platforms.ecs.stages.job import service_job
from pipecd.platforms.ecs.stages.traffic import route_all_to_primary


async def canary_clean(work: Work[BaseModel]) -> Outcome:
    stored = work.shared.get(CANARY)
    if stored is None:
        raise Refused("there is no canary", remedy="add ECS_CANARY_ROLLOUT before ECS_CANARY_CLEAN")
    canary = str(decode_json(stored)["taskSetArn"])
    async with service_job(work, await work.checkouts.target()) as job:
        sets = await job.client.list_task_sets(*job.cluster_and_name)
        keep = {task_set.arn for task_set in sets} - {canary}
        step = await route_all_to_primary(job) or await task_sets.delete_others(job, keep)
        return step or Done(note="The canary was deleted")
