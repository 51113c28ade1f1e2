"""Talking to the load balancer: which rules there are, and changing one."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pipecd.platforms import aws

_SERVICE = "elbv2"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`default` is the listener's own: AWS changes it through the listener."""

    arn: str
    listener: str
    default: bool
    actions: Sequence[Mapping[str, Any]]


@asynccontextmanager
async def connect(provider: aws.AwsProvider) -> AsyncIterator["Balancer"]:
    async with aws.client(_SERVICE, provider) as sdk:
        yield Balancer(sdk)


class Balancer:
    def __init__(self, sdk: Any) -> None:
        self._sdk = sdk

    async def rules(self, target_group: str) -> Sequence[Rule]:
        """Every rule of every listener of the load balancers that use the target group."""
        with aws.errors_in_our_words("elasticloadbalancing"):
            answer = await self._sdk.describe_target_groups(TargetGroupArns=[target_group])
            balancers = [arn for group in answer["TargetGroups"] for arn in group["LoadBalancerArns"]]
            listeners = [
                listener["ListenerArn"]
                for balancer in balancers
                for listener in await self._all("describe_listeners", "Listeners", LoadBalancerArn=balancer)
            ]
            return [
                Rule(
                    arn=rule["RuleArn"],
                    listener=listener,
                    default=bool(rule["IsDefault"]),
                    actions=rule["Actions"],
                )
                for listener in listeners
                for rule in await self._all("describe_rules", "Rules", ListenerArn=listener)
            ]

    async def change(self, rule: Rule, actions: Sequence[Mapping[str, Any]]) -> None:
        with aws.errors_in_our_words("elasticloadbalancing"):
            if rule.default:
                await self._sdk.modify_listener(ListenerArn=rule.listener, DefaultActions=list(actions))
            else:
                await self._sdk.modify_rule(RuleArn=rule.arn, Actions=list(actions))

    async def _all(self, operation: str, key: str, **where: str) -> list[dict[str, Any]]:
        """Every item, to the last page."""
        found: list[dict[str, Any]] = []
        marker: dict[str, str] = {}
        while True:
            answer = await getattr(self._sdk, operation)(**where, **marker)
            found += answer[key]
            if not answer.get("NextMarker"):
                return found
            marker = {"Marker": answer["NextMarker"]}
