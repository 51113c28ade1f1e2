"""ECS_TRAFFIC_ROUTING: sets the weights of primary and canary in every rule that forwards to both."""

from pipecd.errors import Refused
from pipecd.model.stage import Done, Outcome, Work
from pipecd.platforms.ecs.config import RoutingOptions
from pipecd.platforms.ecs.stages.job import service_job
from pipecd.platforms.ecs.stages.traffic import set_weights_everywhere


async def traffic_routing(work: Work[RoutingOptions]) -> Outcome:
    primary, canary = work.options.shares
    async with service_job(work, await work.checkouts.target()) as job:
        app_input = job.desired.input
        if app_input.access_type != "ELB":
            raise Refused(
                f"accessType {app_input.access_type} does not support traffic routing",
                remedy="remove ECS_TRAFFIC_ROUTING; the canary's scale determines its traffic",
            )
        groups = app_input.target_groups
        if groups.primary is None or groups.canary is None:
            raise Refused(
                "ECS_TRAFFIC_ROUTING requires both target groups",
                remedy="set input.targetGroups.primary and input.targetGroups.canary",
            )
        arns = groups.primary.target_group_arn, groups.canary.target_group_arn
        if step := await set_weights_everywhere(job, *arns, {arns[0]: primary, arns[1]: canary}):
            return step
    return Done(
        note=f"Traffic: primary {primary} %, canary {canary} %",
        saved={"primary-percentage": str(primary), "canary-percentage": str(canary)},
    )
