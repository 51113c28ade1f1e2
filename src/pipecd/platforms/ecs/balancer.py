"""Client of the load balancer API: lists listener rules and updates them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pipecd.platforms import aws

_SERVICE = "elbv2"


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
            balancers = [arn for group in response["TargetGroups"] for arn in group["LoadBalancerArns"]]
            listeners = [
                listener["ListenerArn"]
                for balancer in balancers
                for listener in await self._list_all(
                    "describe_listeners", "Listeners", LoadBalancerArn=balancer
                )
            ]
            return [
                Rule(
                    arn=rule["RuleArn"],
                    listener=listener,
                    default=bool(rule["IsDefault"]),
                    actions=rule["Actions"],
                )
                for listener in listeners
                for rule in await self._list_all("describe_rules", "Rules", ListenerArn=listener)
            ]

    async def update_rule(self, rule: Rule, actions: Sequence[Mapping[str, Any]]) -> None:
        with aws.translate_errors("elasticloadbalancing"):
            if rule.default:
                await self._sdk.modify_listener(ListenerArn=rule.listener, DefaultActions=list(actions))
            else:
                await self._sdk.modify_rule(RuleArn=rule.arn, Actions=list(actions))

    async def _list_all(self, operation: str, key: str, **arguments: str) -> list[dict[str, Any]]:
        """Every item from all pages."""
        items: list[dict[str, Any]] = []
        marker: dict[str, str] = {}
        while True:
            response = await getattr(self._sdk, operation)(**arguments, **marker)
            items += response[key]
            if not response.get("NextMarker"):
                return items
            marker = {"Marker": response["NextMarker"]}
