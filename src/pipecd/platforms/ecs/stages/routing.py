"""ECS_TRAFFIC_ROUTING: primary and canary get their share of traffic, in every rule that forwards to both."""

from pipecd.errors import Refused
from pipecd.model.stage import Done, Outcome, Work
from pipecd.platforms.ecs.config import RoutingOptions
from pipecd.platforms.ecs.stages.job import service_job
from pipecd.platforms.ecs.stages.traffic import shifted_everywhere


async def traffic_routing(work: Work[RoutingOptions]) -> Outcome:
    primary, canary = work.options.shares
    async with service_job(work, await work.target()) as job:
        given = job.wanted.input
        if given.access_type != "ELB":
            raise Refused(
                f"traffic cannot be routed with accessType {given.access_type}",
                remedy="take ECS_TRAFFIC_ROUTING out of the pipeline: the canary's scale decides its share",
            )
        groups = given.target_groups
        if groups.primary is None or groups.canary is None:
            raise Refused(
                "ECS_TRAFFIC_ROUTING needs both target groups",
                remedy="write input.targetGroups.primary and input.targetGroups.canary",
            )
        names = groups.primary.target_group_arn, groups.canary.target_group_arn
        if step := await shifted_everywhere(job, *names, {names[0]: primary, names[1]: canary}):
            return step
    return Done(
        note=f"Primary gets {primary} % of the traffic, the canary {canary} %",
        saved={"primary-percentage": str(primary), "canary-percentage": str(canary)},
    )
