"""The files of an ECS application, and the fields that are sent to AWS."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.errors import ConfigError
from pipecd.model.deployment import SyncStrategy
from pipecd.platforms.ecs import platform
from pipecd.platforms.ecs.config import RoutingOptions
from pipecd.platforms.ecs.weights import get_weights, with_weights
from pipecd.platforms.images import image_tag
from tests.platforms.aws.stage_runner import load_source

APP = {"apiVersion": "pipecd.dev/v1beta1", "kind": "ECSApp"}
IMAGE = "registry.example.com:5000/shop/web:v1"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_files(task: Any = None, service: Any = None, **app_input: Any) -> Path:
        task = task or {"family": "shop", "containerDefinitions": [{"name": "web", "image": IMAGE}]}
        (tmp_path / "taskdef.json").write_text(json.dumps(task))
        if service is not None:
            (tmp_path / "servicedef.json").write_text(yaml.safe_dump(service))
            app_input["serviceDefinitionFile"] = "servicedef.json"
        document = {**APP, "spec": {"name": "shop", "input": app_input}}
        (tmp_path / "app.pipecd.yaml").write_text(yaml.safe_dump(document))
        return tmp_path

    return write_files


async def test_a_file_copied_from_a_response_of_aws_is_accepted(write: Callable[..., Path]) -> None:
    """Keys in any case, fields that a request does not have, numbers where AWS requires a string."""
    task = {
        "TaskDefinitionArn": "arn:aws:ecs:…:task-definition/shop:3",
        "Family": "shop",
        "revision": 3,
        "status": "ACTIVE",
        "CPU": 256,
        "memory": "512",
        "tags": [{"key": "not", "value": "supported"}],
        "containerDefinitions": [
            {
                "name": "web",
                "image": IMAGE,
                "cpu": "128",
                "portMappings": [{"ContainerPort": "80"}],
                "environment": [{"name": "DEBUG", "value": True}],
            }
        ],
    }
    service = {
        "serviceName": "shop",
        "clusterArn": "arn:aws:ecs:eu-central-1:123456789012:cluster/shop",
        "roleArn": "arn:aws:iam::123456789012:role/ecs",
        "deploymentController": {"type": "EXTERNAL"},
        "runningCount": 2,
        "events": [],
    }
    desired = await platform.load_desired_state(load_source(platform, write(task, service)))
    assert desired and desired.service
    assert desired.task.fields == {
        "family": "shop",
        "cpu": "256",
        "memory": "512",
        "containerDefinitions": [
            {
                "name": "web",
                "image": IMAGE,
                "cpu": 128,
                "portMappings": [{"containerPort": 80}],
                "environment": [{"name": "DEBUG", "value": "true"}],
            }
        ],
    }
    assert desired.service.cluster == service["clusterArn"] and desired.service.desired_count == 0
    assert "role" not in desired.service.fields, "AWS itself uses it; EXTERNAL services do not accept one"
    assert "runningCount" not in desired.service.fields


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"containerDefinitions": [{"image": "a"}]}, r"taskdef\.json:1: family: is missing"),
        ({"family": "shop"}, "containerDefinitions: is missing"),
        (
            {"family": "shop", "containerDefinitions": [{"name": "x"}]},
            r"containerDefinitions\[0\]\.image: is missing",
        ),
        ({"family": "shop", "containerDefinitions": {}}, "containerDefinitions: is not a list"),
        (
            {"family": "shop", "containerDefinitions": [{"image": "a", "essential": "yes"}]},
            r"essential: is not true or false",
        ),
        (
            {"family": "shop", "containerDefinitions": [{"image": "a", "cpu": "much"}]},
            r"cpu: is not a number",
        ),
    ],
)
async def test_an_invalid_task_definition_is_an_error_with_its_place(
    write: Callable[..., Path], task: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        await platform.load_desired_state(load_source(platform, write(task)))


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ({"cluster": "shop"}, "serviceName: is missing"),
        ({"serviceName": "shop"}, "cluster: is missing"),
        (
            {"serviceName": "s", "cluster": "c", "deploymentController": {"type": "CODE_DEPLOY"}},
            "CODE_DEPLOY is not supported",
        ),
    ],
)
async def test_an_invalid_service_definition_is_an_error_with_its_place(
    write: Callable[..., Path], service: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        await platform.load_desired_state(load_source(platform, write(service=service)))


async def test_a_missing_file_is_an_error(write: Callable[..., Path]) -> None:
    folder = write()
    (folder / "taskdef.json").unlink()
    with pytest.raises(ConfigError, match=r"taskdef\.json: file not found"):
        await platform.load_desired_state(load_source(platform, folder))


@pytest.mark.parametrize(
    "app_input",
    [
        {"accessType": "DNS"},
        {"launchType": "LAMBDA"},
        {"taskDefinitionFile": "../other/taskdef.json"},
        {"targetGroups": {"primary": {"targetGroupArn": "a"}, "canary": {"targetGroupArn": "a"}}},
        {"awsvpcConfiguration": {"subnets": [str(at) for at in range(17)]}},
    ],
)
def test_an_invalid_input_is_an_error(write: Callable[..., Path], app_input: Any) -> None:
    with pytest.raises(ConfigError, match=r"app\.pipecd\.yaml:\d+: spec\.input"):
        load_source(platform, write(**app_input))


@pytest.mark.parametrize(
    ("image", "version"),
    [(IMAGE, "v1"), ("shop", "latest"), ("host:5000/shop", "latest"), ("a/shop@sha256:12", "sha256:12")],
)
def test_the_version_is_the_images_tag(image: str, version: str) -> None:
    assert image_tag(image) == version


async def test_every_container_is_a_version(write: Callable[..., Path]) -> None:
    containers = [{"name": "web", "image": IMAGE}, {"name": "log", "image": "fluent/bit:3"}]
    task = {"family": "shop", "containerDefinitions": containers}
    desired = await platform.load_desired_state(load_source(platform, write(task)))
    versions = [(version.name, version.version) for version in platform.versions(desired)]
    assert versions == [("web", "v1"), ("bit", "3")]
    assert platform.choose_strategy(None, desired).strategy is SyncStrategy.QUICK_SYNC
    assert platform.choose_strategy(desired, desired).strategy is SyncStrategy.PIPELINE


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (100, 0)),
        ({"primary": 100}, (100, 0)),
        ({"primary": "30%"}, (30, 70)),
        ({"canary": 20}, (80, 20)),
        ({"canary": 100}, (0, 100)),
        ({"primary": 60, "canary": 90}, (60, 40)),
    ],
)
def test_primary_takes_precedence_over_canary(options: dict[str, Any], expected: tuple[int, int]) -> None:
    assert RoutingOptions.model_validate(options).shares == expected


def test_only_actions_with_exactly_both_groups_get_new_weights() -> None:
    def forward(*groups: str) -> dict[str, Any]:
        weighted = [{"TargetGroupArn": group, "Weight": 1} for group in groups]
        return {"Type": "forward", "Order": 2, "ForwardConfig": {"TargetGroups": weighted}}

    oidc = {"Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig": {"ClientId": "x"}}
    both = [oidc, forward("p", "c")]
    assert get_weights(both, "p", "c") == (1, 1) and get_weights([forward("p", "c", "x")], "p", "c") is None
    assert get_weights([forward("p")], "p", "c") is None
    first, second = with_weights(both, {"p": 90, "c": 10})
    assert first["AuthenticateOidcConfig"] == {"ClientId": "x", "UseExistingClientSecret": True}
    assert second["Order"] == 2 and get_weights([second], "p", "c") == (90, 10)
    assert with_weights([forward("p")], {"p": 90, "c": 10}) == [forward("p")]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            {"deploymentController": {"type": "EXTERNAL"}},
            "AWS cannot change deploymentController of the service",
        ),
        ({"launchType": "EC2"}, "AWS cannot change launchType of the service shop; restore it, or delete"),
        ({"launchType": "EC2", "serviceName": "another"}, ""),
        ({"desiredCount": 7}, ""),
    ],
)
async def test_changes_that_aws_does_not_allow_are_named(
    write: Callable[..., Path], change: Any, named: str
) -> None:
    fields = {
        "serviceName": "shop",
        "cluster": "c",
        "launchType": "FARGATE",
        "deploymentController": {"type": "ECS"},
    }
    running = await platform.load_desired_state(load_source(platform, write(service=fields)))
    target = await platform.load_desired_state(load_source(platform, write(service={**fields, **change})))
    assert platform.refused_changes and not platform.refused_changes(running, running)
    assert named in " ".join(platform.refused_changes(running, target))
    assert bool(named) is bool(platform.refused_changes(running, target))
