"""The policy check rejects wide policies, and the policies of deploy/ allow every call of the agent."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from botocore.session import Session

from tests.deploy.policies import check_policy

ROOT = Path(__file__).parents[2]
PASS = {"Action": "iam:PassRole", "Resource": "arn:aws:iam::1:role/x"}
TO_LAMBDA = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param({"Action": "*", "Resource": "arn:x"}, id="every action"),
        pytest.param({"Action": "lambda:*", "Resource": "arn:x"}, id="every action of a service"),
        pytest.param({"Action": ["s3:Get*"], "Resource": "arn:x"}, id="actions by prefix"),
        pytest.param({"Action": "lambda:UpdateAlias", "Resource": "*"}, id="every resource"),
        pytest.param({"Action": "lambda:UpdateAlias"}, id="no resource"),
        pytest.param({"Action": [], "NotAction": "iam:*", "Resource": "*"}, id="every action but some"),
        pytest.param(PASS, id="passing a role to any service"),
        pytest.param({**PASS, "Resource": "*", "Condition": TO_LAMBDA}, id="passing any role"),
        pytest.param({"Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}, id="any principal"),
    ],
)
def test_a_policy_that_allows_too_much_is_rejected(statement: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        check_policy(json.dumps({"Statement": [{"Effect": "Allow", **statement}]}), "here")


def test_a_narrow_policy_passes() -> None:
    statements = [{"Effect": "Allow", **PASS, "Condition": TO_LAMBDA}]
    assert check_policy({"Statement": statements}, "here") == 1


#: Platform package → SDK service name → IAM service prefix.
SERVICES = {
    "awslambda": {"lambda": "lambda"},
    "ecs": {
        "ecs": "ecs",
        "elbv2": "elasticloadbalancing",
        "application-autoscaling": "application-autoscaling",
    },
}


@pytest.mark.parametrize("platform", SERVICES)
def test_every_call_of_the_agent_is_allowed(platform: str) -> None:
    """Calls are found in the platform's source by the SDK's operation names."""
    code = "\n".join(
        file.read_text() for file in (ROOT / "src" / "pipecd" / "platforms" / platform).rglob("*.py")
    )
    called = set(re.findall(r"\.([a-z]+_[a-z0-9_]+)\(", code)) | set(
        re.findall(r'(?:get_paginator|get_waiter|call|_call|_ask|_all)\(\s*"([a-z_0-9]+)"', code)
    )
    policy = (
        ROOT / "deploy" / "policies" / f"{'lambda' if platform == 'awslambda' else 'ecs'}.tf"
    ).read_text()
    allowed = set(re.findall(r'"([a-z0-9-]+:[A-Z][A-Za-z0-9]+)"', policy))
    session = Session()
    # A name such as `tag_resource` exists in several services; one of them must be allowed.
    needed: dict[str, set[str]] = {}
    for service, prefix in SERVICES[platform].items():
        for operation in session.get_service_model(service).operation_names:
            name = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", operation).lower()
            if name in called:
                needed.setdefault(name, set()).add(f"{prefix}:{operation}")
    assert len(needed) >= 5
    assert [name for name, actions in needed.items() if not actions & allowed] == []


def test_terraform_and_cdk_allow_the_same_actions() -> None:
    policies = "".join(
        (ROOT / "deploy" / "policies" / f"{name}.tf").read_text() for name in ("lambda", "ecs")
    )
    code = (ROOT / "deploy" / "cdk" / "policies.py").read_text()
    terraform = _by_sid(policies, r'sid\s*= "(\w+)"', r"\n  \}\n")
    cdk = _by_sid(code, r'sid="(\w+)"', r"\n {12}\),?\n")
    # CDK has one function for the two that pass roles.
    passing = {"PassFunctionRoles", "PassTaskRoles"}
    assert {*cdk} == {*terraform} - passing
    for sid in passing:
        assert f'"{sid}"' in code
    for sid, text in cdk.items():
        assert _actions(text) == _actions(terraform[sid]), sid


def _by_sid(text: str, sid: str, end: str) -> dict[str, str]:
    """Statement id → its source text."""
    return {match[1]: re.split(end, text[match.start() :])[0] for match in re.finditer(sid, text)}


def _actions(text: str) -> set[str]:
    return set(re.findall(r'"([a-z0-9-]+:[A-Z][A-Za-z0-9]+)"', text))
