"""Every error of AWS that a call of the agent can return has a meaning and a remedy."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore import xform_name
from botocore.session import Session

from pipecd.errors import NotFound, Refused, Temporary
from pipecd.platforms import aws_errors
from pipecd.platforms.aws_errors import CODES, DEFAULT_REMEDY, MESSAGES, meaning

PLATFORMS = Path(aws_errors.__file__).parent
CLIENTS = {
    "lambda": "awslambda/client.py",
    "ecs": "ecs/client.py",
    "elbv2": "ecs/balancer.py",
    "application-autoscaling": "ecs/autoscaling.py",
}


def codes() -> Iterator[tuple[str, str]]:
    """The operations that the clients name, with the error codes of the SDK's models."""
    for service, file in CLIENTS.items():
        model = Session().get_service_model(service)
        nodes = list(ast.walk(ast.parse((PLATFORMS / file).read_text())))
        names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        names |= {str(node.value) for node in nodes if isinstance(node, ast.Constant)}
        called = [name for name in model.operation_names if xform_name(name) in names]
        assert called, f"{file} calls nothing of {service}"
        for name in called:
            for shape in model.operation_model(name).error_shapes:
                yield f"{service}:{name}", shape.metadata.get("error", {}).get("code") or shape.name


def test_every_code_of_every_call_has_a_meaning() -> None:
    missing = {code: call for call, code in codes() if code not in CODES}
    assert not missing, "add these to pipecd.platforms.aws_errors"


def test_every_meaning_has_a_remedy_of_its_own() -> None:
    for found in [*CODES.values(), *(row[2] for row in MESSAGES)]:
        assert found.remedy and found.remedy != DEFAULT_REMEDY
        assert found.remedy[0].islower() and not found.remedy.endswith(".")


@pytest.mark.parametrize(
    ("code", "message", "status", "error", "remedy"),
    [
        ("InvalidParameterException", "5 deployments exist on the service. Unable to create new TaskSet since"
         " this exceeds the maximum limit.", 400, Refused, "delete unused task sets"),
        ("InvalidParameterValueException", "Please don't provide ImageUri when updating a function with"
         " packageType Zip.", 400, Refused, "another name, or delete it"),
        ("ClientException", "Unable to describe task definition.", 400, NotFound, "syncing the application"),
        ("ResourceConflictException", "An update is in progress for resource", 409, Temporary, "repeated"),
        ("NewException", "odd", 400, Refused, DEFAULT_REMEDY),
        ("NewException", "odd", 403, Refused, "allow the agent's role"),
        ("NewException", "odd", 503, Temporary, "repeated"),
    ],
)  # fmt: skip
def test_messages_tell_the_causes_of_a_code_apart(
    code: str, message: str, status: int, error: type[Exception], remedy: str
) -> None:
    found = meaning(code, message, status)
    assert found.error is error and remedy in found.remedy
