"""Steps that move traffic between the target groups, one rule per step."""

import json
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress

from pipecd.errors import NotFound, Refused
from pipecd.json_input import decode_json
from pipecd.model.stage import Again
from pipecd.platforms.ecs.balancer import LoadBalancerClient, Rule, connect
from pipecd.platforms.ecs.config import TargetGroups
from pipecd.platforms.ecs.stages.job import Job, Step
from pipecd.platforms.ecs.weights import get_weights, with_weights

#: Keys of shared metadata, the same as PipeCD's.
LISTENERS, CANARY_GROUP = "current-listeners", "canary-target-group-arn"
#: Stage metadata: the rules that split the traffic, and their listeners.
_RULES = "pipecd/split-rules"


async def route_all_to_primary(job: Job) -> Step:
    """One step towards no traffic for the canary group; None when it has none.

    Runs before anything in the canary group is deleted. A rollback routes the group of the running commit,
    and the one that the failed commit used.
    """
    primary = _primary(job)
    for canary in _canaries(job):
        async with connect(job.work.provider) as balancer:
            rules = await _split_rules(job, balancer, primary, canary)
            if isinstance(rules, Again):
                return rules
            for rule in rules:
                if _weights(rule, primary, canary)[canary]:
                    return await set_weights(job, balancer, rule, {primary: 100, canary: 0})
    return None


async def canary_groups_with_traffic(job: Job) -> Again | Set[str]:
    """ARNs of the canary groups that a rule routes traffic to, or the step towards that."""
    primary, found = _primary(job), set()
    for canary in _canaries(job):
        async with connect(job.work.provider) as balancer:
            rules = await _split_rules(job, balancer, primary, canary)
            if isinstance(rules, Again):
                return rules
            found |= {canary for rule in rules if _weights(rule, primary, canary)[canary]}
    return found


def _primary(job: Job) -> str:
    group = job.desired.input.target_groups.primary
    return group.target_group_arn if group else ""


def _canaries(job: Job) -> Sequence[str]:
    """The target groups that may get traffic of a canary; empty without a split."""
    groups: TargetGroups = job.desired.input.target_groups
    if job.desired.input.access_type != "ELB" or not groups.primary:
        return ()
    configured = groups.canary.target_group_arn if groups.canary else ""
    found = dict.fromkeys([configured, job.work.shared.get(CANARY_GROUP, "")])
    return [group for group in found if group and group != _primary(job)]


async def _split_rules(
    job: Job, balancer: LoadBalancerClient, primary: str, canary: str
) -> Again | Sequence[Rule]:
    """The rules that split traffic between exactly these two groups.

    Listing every rule of every listener takes a call for each, so a stage does it once and stores the result.
    """
    key = f"{_RULES}/{canary.rsplit('/', 1)[-1]}"
    stored = job.work.saved.get(key)
    if stored is not None:
        with suppress(NotFound):
            rules = await balancer.reload([Rule(**rule, actions=()) for rule in decode_json(stored)])
            return [rule for rule in rules if get_weights(rule.actions, primary, canary) is not None]
    rules = [
        rule
        for rule in await balancer.rules(primary)
        if get_weights(rule.actions, primary, canary) is not None
    ]
    known = [{"arn": rule.arn, "listener": rule.listener, "default": rule.default} for rule in rules]
    return Again(saved={key: json.dumps(known)}, note=f"Found {len(rules)} rules that split the traffic")


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
        rules = await _split_rules(job, balancer, primary, canary)
        if isinstance(rules, Again):
            return rules
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
