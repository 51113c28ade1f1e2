"""Client of the load balancer API: lists listener rules and updates them."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pipecd.platforms import aws

_SERVICE = "elbv2"
#: Number of rules or listeners that one call reads by their ARNs.
_ARNS_PER_CALL = 20


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`default` marks the listener's default rule, which is updated through the listener."""

    arn: str
    listener: str
    default: bool
    actions: Sequence[Mapping[str, Any]]


@asynccontextmanager
async def connect(provider: aws.AwsProvider) -> AsyncIterator["LoadBalancerClient"]:
    async with aws.client(_SERVICE, provider) as sdk:
        yield LoadBalancerClient(sdk)


class LoadBalancerClient:
    def __init__(self, sdk: Any) -> None:
        self._sdk = sdk

    async def rules(self, target_group: str) -> Sequence[Rule]:
        """Every rule of every listener of the load balancers that use the target group."""
        with aws.translate_errors("elasticloadbalancing"):
            response = await self._sdk.describe_target_groups(TargetGroupArns=[target_group])
            balancers = {arn: None for group in response["TargetGroups"] for arn in group["LoadBalancerArns"]}
            listeners = [
                listener["ListenerArn"]
                for balancer in balancers
                for listener in await self._list_all(
                    "describe_listeners", "Listeners", LoadBalancerArn=balancer
                )
            ]
            return [
                _rule(listener, rule)
                for listener in listeners
                for rule in await self._list_all("describe_rules", "Rules", ListenerArn=listener)
            ]

    async def reload(self, rules: Sequence[Rule]) -> Sequence[Rule]:
        """The rules as they are now, in any order. Raises NotFound if one of them was deleted."""
        listeners = {rule.arn: rule.listener for rule in rules if not rule.default}
        defaults = {rule.listener: rule.arn for rule in rules if rule.default}
        with aws.translate_errors("elasticloadbalancing"):
            return [
                *[
                    _rule(listeners[rule["RuleArn"]], rule)
                    for arns in _batched(listeners)
                    for rule in await self._list_all("describe_rules", "Rules", RuleArns=arns)
                ],
                *[
                    Rule(
                        arn=defaults[listener["ListenerArn"]],
                        listener=listener["ListenerArn"],
                        default=True,
                        actions=listener["DefaultActions"],
                    )
                    for arns in _batched(defaults)
                    for listener in await self._list_all("describe_listeners", "Listeners", ListenerArns=arns)
                ],
            ]

    async def update_rule(self, rule: Rule, actions: Sequence[Mapping[str, Any]]) -> None:
        with aws.translate_errors("elasticloadbalancing"):
            if rule.default:
                await self._sdk.modify_listener(ListenerArn=rule.listener, DefaultActions=list(actions))
            else:
                await self._sdk.modify_rule(RuleArn=rule.arn, Actions=list(actions))

    async def _list_all(self, operation: str, key: str, **arguments: Any) -> list[dict[str, Any]]:
        """Every item from all pages."""
        items: list[dict[str, Any]] = []
        marker: dict[str, str] = {}
        while True:
            response = await getattr(self._sdk, operation)(**arguments, **marker)
            items += response[key]
            if not response.get("NextMarker"):
                return items
            marker = {"Marker": response["NextMarker"]}


def _rule(listener: str, live: Mapping[str, Any]) -> Rule:
    return Rule(
        arn=live["RuleArn"], listener=listener, default=bool(live["IsDefault"]), actions=live["Actions"]
    )


def _batched(arns: Iterable[str]) -> Iterator[list[str]]:
    remaining = list(arns)
    while remaining:
        yield remaining[:_ARNS_PER_CALL]
        remaining = remaining[_ARNS_PER_CALL:]
