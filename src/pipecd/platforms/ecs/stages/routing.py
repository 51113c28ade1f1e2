"""ECS_TRAFFIC_ROUTING: sets the weights of primary and canary in every rule that forwards to both."""

from pipecd.model.stage import Done, Outcome, Work
from pipecd.platforms.ecs.config import RoutingOptions
from pipecd.platforms.ecs.stages.job import service_job
from pipecd.platforms.ecs.stages.traffic import set_weights_everywhere


async def traffic_routing(work: Work[RoutingOptions]) -> Outcome:
    primary, canary = work.options.shares
    async with service_job(work, await work.checkouts.target()) as job:
        groups = job.desired.input.target_groups
        first, second = (group.target_group_arn for group in (groups.primary, groups.canary) if group)
        weights = {first: primary, second: canary}
        if step := await set_weights_everywhere(job, first, second, weights):
            return step
    return Done(
        note=f"Traffic: primary {primary} %, canary {canary} %",
        saved={"primary-percentage": str(primary), "canary-percentage": str(canary)},
    )
