"""Steps that move traffic between the target groups, one rule per step."""

from collections.abc import Mapping, Sequence

from pipecd.errors import Refused
from pipecd.model.stage import Again
from pipecd.platforms.ecs.balancer import LoadBalancerClient, Rule, connect
from pipecd.platforms.ecs.config import TargetGroups
from pipecd.platforms.ecs.stages.job import Job, Step
from pipecd.platforms.ecs.weights import get_weights, with_weights

#: Keys of shared metadata, the same as PipeCD's.
LISTENERS, CANARY_GROUP = "current-listeners", "canary-target-group-arn"


async def route_all_to_primary(job: Job) -> Step:
    """One step towards no traffic for the canary group; None when it has none.

    Runs before anything in the canary group is deleted.
    """
    groups: TargetGroups = job.desired.input.target_groups
    canary = groups.canary.target_group_arn if groups.canary else job.work.shared.get(CANARY_GROUP, "")
    if job.desired.input.access_type != "ELB" or not groups.primary or not canary:
        return None
    primary = groups.primary.target_group_arn
    async with connect(job.work.provider) as balancer:
        rules = await split_rules(balancer, primary, canary)
        canary_rules = [rule for rule in rules if _weights(rule, primary, canary)[canary]]
        if not canary_rules:
            return None
        return await set_weights(job, balancer, canary_rules[0], {primary: 100, canary: 0})


async def split_rules(balancer: LoadBalancerClient, primary: str, canary: str) -> Sequence[Rule]:
    """The rules that split traffic between exactly these two groups."""
    rules = await balancer.rules(primary)
    return [rule for rule in rules if get_weights(rule.actions, primary, canary) is not None]


async def set_weights(
    job: Job, balancer: LoadBalancerClient, rule: Rule, weights: Mapping[str, int]
) -> Again:
    await balancer.update_rule(rule, with_weights(rule.actions, weights))
    split = " to ".join(str(weight) for weight in weights.values())
    rule_name = "the default rule" if rule.default else "a rule"
    job.work.log.success(f"Traffic of {rule_name} of listener {rule.listener.rsplit('/', 1)[-1]}: {split}")
    return Again(note=f"Traffic: {split}")


async def set_weights_everywhere(job: Job, primary: str, canary: str, desired: Mapping[str, int]) -> Step:
    """One step towards the desired weights in every rule. A group whose weight grows must have tasks."""
    async with connect(job.work.provider) as balancer:
        rules = await split_rules(balancer, primary, canary)
        if not rules:
            raise Refused(
                "no listener rule forwards to the primary and the canary target group",
                remedy="create a rule that forwards to both of them, with the weights 100 and 0",
            )
        listeners = ",".join(dict.fromkeys(rule.listener for rule in rules))
        if LISTENERS not in job.work.shared:
            return Again(shared={LISTENERS: listeners, CANARY_GROUP: canary})
        for rule in rules:
            live = _weights(rule, primary, canary)
            if live == desired:
                continue
            await _refuse_empty_groups(job, [group for group in desired if desired[group] > live[group]])
            return await set_weights(job, balancer, rule, desired)
    return None


async def _refuse_empty_groups(job: Job, growing: Sequence[str]) -> None:
    sets = await job.client.list_task_sets(*job.cluster_and_name)
    served = {group for task_set in sets for group in task_set.target_groups}
    if empty := [group for group in growing if group not in served]:
        raise Refused(
            f"no task set serves {empty[0]}, so its traffic would be lost",
            remedy="add ECS_CANARY_ROLLOUT or ECS_PRIMARY_ROLLOUT before ECS_TRAFFIC_ROUTING",
        )


def _weights(rule: Rule, primary: str, canary: str) -> dict[str, int]:
    weights = get_weights(rule.actions, primary, canary) or (0, 0)
    return {primary: weights[0], canary: weights[1]}
