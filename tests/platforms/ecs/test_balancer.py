"""Pagination of the load balancer client.

moto always returns one page, so only this test uses a stub with two pages.
"""

from typing import Any

from pipecd.platforms.ecs.balancer import LoadBalancerClient


class TwoPages:
    """Responses of AWS, reduced to the fields that are read."""

    async def describe_target_groups(self, **_: Any) -> Any:
        return {"TargetGroups": [{"LoadBalancerArns": ["lb"]}]}

    async def describe_listeners(self, LoadBalancerArn: str, Marker: str = "") -> Any:
        assert LoadBalancerArn == "lb"
        return _page(Marker, "Listeners", [{"ListenerArn": "l1"}, {"ListenerArn": "l2"}])

    async def describe_rules(self, ListenerArn: str, Marker: str = "") -> Any:
        rules = [{"RuleArn": f"{ListenerArn}/r{at}", "IsDefault": at == 2, "Actions": []} for at in (1, 2)]
        return _page(Marker, "Rules", rules)


def _page(marker: str, key: str, items: list[Any]) -> Any:
    return {key: items[1:]} if marker else {key: items[:1], "NextMarker": "more"}


async def test_every_rule_of_every_listener_is_listed() -> None:
    rules = await LoadBalancerClient(TwoPages()).rules("group")
    assert [rule.arn for rule in rules] == ["l1/r1", "l1/r2", "l2/r1", "l2/r2"]
    assert [rule.default for rule in rules] == [False, True, False, True]
