"""The check of policies refuses what it is there for; and the policies are for calls that the agent makes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from botocore.session import Session

from tests.deploy.policies import checked

ROOT = Path(__file__).parents[2]
PASS = {"Action": "iam:PassRole", "Resource": "arn:aws:iam::1:role/x"}
TO_LAMBDA = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param({"Action": "*", "Resource": "arn:x"}, id="every action"),
        pytest.param({"Action": "lambda:*", "Resource": "arn:x"}, id="every action of a service"),
        pytest.param({"Action": ["s3:Get*"], "Resource": "arn:x"}, id="actions by their beginning"),
        pytest.param({"Action": "lambda:UpdateAlias", "Resource": "*"}, id="every resource"),
        pytest.param({"Action": "lambda:UpdateAlias"}, id="no resource"),
        pytest.param({"Action": [], "NotAction": "iam:*", "Resource": "*"}, id="all but"),
        pytest.param(PASS, id="a role to any service"),
        pytest.param({**PASS, "Resource": "*", "Condition": TO_LAMBDA}, id="any role"),
        pytest.param({"Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}, id="anybody"),
    ],
)
def test_a_policy_that_allows_too_much_is_refused(statement: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        checked(json.dumps({"Statement": [{"Effect": "Allow", **statement}]}), "here")


def test_a_narrow_policy_passes() -> None:
    statements = [{"Effect": "Allow", **PASS, "Condition": TO_LAMBDA}]
    assert checked({"Statement": statements}, "here") == 1


#: Package of a platform → the services it calls, as the SDK and as IAM name them.
SERVICES = {
    "awslambda": {"lambda": "lambda"},
    "ecs": {
        "ecs": "ecs",
        "elbv2": "elasticloadbalancing",
        "application-autoscaling": "application-autoscaling",
    },
}


@pytest.mark.parametrize("platform", SERVICES)
def test_whatever_the_agent_calls_is_allowed(platform: str) -> None:
    """Calls are found in the platform's code by the SDK's own names of operations."""
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
    #: A name such as `tag_resource` may be of several services; then one of them is meant.
    needed: dict[str, set[str]] = {}
    for service, prefix in SERVICES[platform].items():
        for operation in session.get_service_model(service).operation_names:
            name = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", operation).lower()
            if name in called:
                needed.setdefault(name, set()).add(f"{prefix}:{operation}")
    assert len(needed) >= 5
    assert [name for name, actions in needed.items() if not actions & allowed] == []


def test_terraform_and_cdk_allow_the_same() -> None:
    terraform = "".join(
        (ROOT / "deploy" / "policies" / f"{name}.tf").read_text() for name in ("lambda", "ecs")
    )
    cdk = (ROOT / "deploy" / "apprunner" / "cdk" / "policies.py").read_text()
    for sid, text in _by_sid(cdk, r'sid="(\w+)"', r"\n {12}\),?\n").items():
        found = _by_sid(terraform, r'sid\s*= "(\w+)"', r"\n  \}\n").get(sid)
        assert found is not None, sid
        assert _actions(text) == _actions(found), sid


def _by_sid(text: str, sid: str, end: str) -> dict[str, str]:
    return {one[1]: re.split(end, text[one.start() :])[0] for one in re.finditer(sid, text)}


def _actions(text: str) -> set[str]:
    return set(re.findall(r'"([a-z0-9-]+:[A-Z][A-Za-z0-9]+)"', text))
