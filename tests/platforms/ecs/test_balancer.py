"""Reading a load balancer to its last page.

moto answers in one page, so a recorded answer of two stands in for it here, and only here.
"""

from typing import Any

from pipecd.platforms.ecs.balancer import Balancer


class TwoPages:
    """AWS's answers, cut to what is read of them."""

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


async def test_every_rule_of_every_listener_is_found() -> None:
    rules = await Balancer(TwoPages()).rules("group")
    assert [one.arn for one in rules] == ["l1/r1", "l1/r2", "l2/r1", "l2/r2"]
    assert [one.default for one in rules] == [False, True, False, True]
