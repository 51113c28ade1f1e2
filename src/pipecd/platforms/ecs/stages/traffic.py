"""Steps that move traffic between the target groups, one rule a call."""

from collections.abc import Mapping, Sequence

from pipecd.errors import Refused
from pipecd.model.stage import Again
from pipecd.platforms.ecs.balancer import Balancer, Rule, connect
from pipecd.platforms.ecs.config import TargetGroups
from pipecd.platforms.ecs.stages.job import Job, Step
from pipecd.platforms.ecs.weights import shares, shifted

#: Shared metadata, as PipeCD's console and agents know it.
LISTENERS, CANARY_GROUP = "current-listeners", "canary-target-group-arn"


async def all_to_primary(job: Job) -> Step:
    """Nothing goes to the canary's target group any more; before anything in it is deleted."""
    groups: TargetGroups = job.wanted.input.target_groups
    canary = groups.canary.target_group_arn if groups.canary else job.work.shared.get(CANARY_GROUP, "")
    if job.wanted.input.access_type != "ELB" or not groups.primary or not canary:
        return None
    primary = groups.primary.target_group_arn
    async with connect(job.work.provider) as balancer:
        rules = await ours(balancer, primary, canary)
        leaking = [rule for rule in rules if _weights(rule, primary, canary)[canary]]
        if not leaking:
            return None
        return await shift(job, balancer, leaking[0], {primary: 100, canary: 0})


async def ours(balancer: Balancer, primary: str, canary: str) -> Sequence[Rule]:
    """The rules that divide traffic between exactly these two groups."""
    rules = await balancer.rules(primary)
    return [rule for rule in rules if shares(rule.actions, primary, canary) is not None]


async def shift(job: Job, balancer: Balancer, rule: Rule, weights: Mapping[str, int]) -> Again:
    await balancer.change(rule, shifted(rule.actions, weights))
    words = " to ".join(str(weight) for weight in weights.values())
    which = "the default rule" if rule.default else "a rule"
    job.work.log.success(f"Traffic of {which} of listener {rule.listener.rsplit('/', 1)[-1]}: {words}")
    return Again(note=f"Traffic: {words}")


async def shifted_everywhere(job: Job, primary: str, canary: str, wanted: Mapping[str, int]) -> Step:
    """Every rule has the wanted weights. A group that is to get more must have tasks."""
    async with connect(job.work.provider) as balancer:
        rules = await ours(balancer, primary, canary)
        if not rules:
            raise Refused(
                "no listener rule forwards to the primary and the canary target group",
                remedy="make a rule that forwards to both of them, with the weights 100 and 0",
            )
        listeners = ",".join(dict.fromkeys(rule.listener for rule in rules))
        if LISTENERS not in job.work.shared:
            return Again(shared={LISTENERS: listeners, CANARY_GROUP: canary})
        for rule in rules:
            live = _weights(rule, primary, canary)
            if live == wanted:
                continue
            await _refuse_nowhere(job, [group for group in wanted if wanted[group] > live[group]])
            return await shift(job, balancer, rule, wanted)
    return None


async def _refuse_nowhere(job: Job, growing: Sequence[str]) -> None:
    sets = await job.ecs.task_sets(*job.where)
    served = {group for one in sets for group in one.target_groups}
    if empty := [group for group in growing if group not in served]:
        raise Refused(
            f"no task set serves {empty[0]}: traffic would go nowhere",
            remedy="put ECS_CANARY_ROLLOUT or ECS_PRIMARY_ROLLOUT before ECS_TRAFFIC_ROUTING",
        )


def _weights(rule: Rule, primary: str, canary: str) -> dict[str, int]:
    found = shares(rule.actions, primary, canary) or (0, 0)
    return {primary: found[0], canary: found[1]}
