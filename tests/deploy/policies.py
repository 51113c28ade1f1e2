"""Least-privilege check for the IAM policies of deploy/."""

import json
from collections.abc import Sequence
from typing import Any

#: Actions that AWS cannot limit to single resources (source: its service authorization reference).
WITHOUT_RESOURCE_LEVEL_PERMISSIONS = {
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
    """The policy's statements, with `Action` and `Resource` always as lists."""
    policy = json.loads(document) if isinstance(document, str) else document
    return [
        {
            **statement,
            "Action": _as_list(statement["Action"]),
            "Resource": _as_list(statement.get("Resource", [])),
        }
        for statement in policy["Statement"]
    ]


def check_policy(document: str | dict[str, Any], where: str) -> int:
    """The number of statements. Raises AssertionError if one allows more than needed."""
    parsed = statements(document)
    for statement in parsed:
        name = f"{where}: {statement.get('Sid', statement)}"
        if statement["Effect"] == "Deny":
            continue
        assert "NotAction" not in statement and "NotResource" not in statement, name
        if "Principal" in statement:
            assert statement["Action"] == ["sts:AssumeRole"], name
            assert list(statement["Principal"]) == ["Service"], name
            continue
        assert statement["Resource"], name
        assert not [action for action in statement["Action"] if "*" in action], name
        if "*" in statement["Resource"] and not statement.get("Condition"):
            assert set(statement["Action"]) <= WITHOUT_RESOURCE_LEVEL_PERMISSIONS, name
        if "iam:PassRole" in statement["Action"]:
            assert statement["Action"] == ["iam:PassRole"], name
            assert "iam:PassedToService" in statement.get("Condition", {}).get("StringEquals", {}), name
            assert not [arn for arn in statement["Resource"] if "*" in str(arn)], name
    return len(parsed)


def _as_list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
