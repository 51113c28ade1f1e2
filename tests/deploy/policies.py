"""What no policy of deploy/ may say."""

import json
from collections.abc import Sequence
from typing import Any

#: What AWS cannot limit to single resources (its service authorization reference says so for each).
UNLIMITED = {
    "application-autoscaling:DescribeScalableTargets",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "ecr:GetAuthorizationToken",
    "ecs:DeregisterTaskDefinition",
    "ecs:DescribeTaskDefinition",
    "ecs:ListClusters",
    "elasticloadbalancing:DescribeListeners",
    "elasticloadbalancing:DescribeRules",
    "elasticloadbalancing:DescribeTargetGroups",
}


def statements(document: str | dict[str, Any]) -> list[dict[str, Any]]:
    read = json.loads(document) if isinstance(document, str) else document
    return [
        {**one, "Action": _listed(one["Action"]), "Resource": _listed(one.get("Resource", []))}
        for one in read["Statement"]
    ]


def checked(document: str | dict[str, Any], where: str) -> int:
    """The number of statements; raises AssertionError for one that allows more than it needs."""
    found = statements(document)
    for one in found:
        told = f"{where}: {one.get('Sid', one)}"
        if one["Effect"] == "Deny":
            continue
        assert "NotAction" not in one and "NotResource" not in one, told
        if "Principal" in one:
            assert one["Action"] == ["sts:AssumeRole"] and list(one["Principal"]) == ["Service"], told
            continue
        assert one["Resource"], told
        assert not [action for action in one["Action"] if "*" in action], told
        if "*" in one["Resource"] and not one.get("Condition"):
            assert set(one["Action"]) <= UNLIMITED, told
        if "iam:PassRole" in one["Action"]:
            assert one["Action"] == ["iam:PassRole"], told
            assert "iam:PassedToService" in one.get("Condition", {}).get("StringEquals", {}), told
            assert not [arn for arn in one["Resource"] if "*" in str(arn)], told
    return len(found)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
