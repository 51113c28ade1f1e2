"""What the files of an ECS application may say, and what of it is sent to AWS."""

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
from pipecd.platforms.ecs.source import tag
from pipecd.platforms.ecs.weights import shares, shifted
from tests.platforms.aws.bench import source

APP = {"apiVersion": "pipecd.dev/v1beta1", "kind": "ECSApp"}
IMAGE = "registry.example.com:5000/shop/web:v1"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def made(task: Any = None, service: Any = None, **given: Any) -> Path:
        task = task or {"family": "shop", "containerDefinitions": [{"name": "web", "image": IMAGE}]}
        (tmp_path / "taskdef.json").write_text(json.dumps(task))
        if service is not None:
            (tmp_path / "servicedef.json").write_text(yaml.safe_dump(service))
            given["serviceDefinitionFile"] = "servicedef.json"
        document = {**APP, "spec": {"name": "shop", "input": given}}
        (tmp_path / "app.pipecd.yaml").write_text(yaml.safe_dump(document))
        return tmp_path

    return made


async def test_a_file_copied_from_an_answer_of_aws_is_taken(write: Callable[..., Path]) -> None:
    """Keys in any case, members that a request does not have, numbers where AWS wants a text."""
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
    wanted = await platform.desired(source(platform, write(task, service)))
    assert wanted.task.fields == {
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
    assert wanted.service.cluster == service["clusterArn"] and wanted.service.desired_count == 0
    assert wanted.service.fields["role"] == service["roleArn"]
    assert "runningCount" not in wanted.service.fields


@pytest.mark.parametrize(
    ("task", "told"),
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
async def test_a_wrong_task_definition_is_told_with_its_place(
    write: Callable[..., Path], task: Any, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        await platform.desired(source(platform, write(task)))


@pytest.mark.parametrize(
    ("service", "told"),
    [
        ({"cluster": "shop"}, "serviceName: is missing"),
        ({"serviceName": "shop"}, "cluster: is missing"),
        (
            {"serviceName": "s", "cluster": "c", "deploymentController": {"type": "CODE_DEPLOY"}},
            "CODE_DEPLOY is not supported",
        ),
    ],
)
async def test_a_wrong_service_definition_is_told_with_its_place(
    write: Callable[..., Path], service: Any, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        await platform.desired(source(platform, write(service=service)))


async def test_a_missing_file_is_told(write: Callable[..., Path]) -> None:
    folder = write()
    (folder / "taskdef.json").unlink()
    with pytest.raises(ConfigError, match=r"taskdef\.json: there is no such file"):
        await platform.desired(source(platform, folder))


@pytest.mark.parametrize(
    "given",
    [
        {"accessType": "DNS"},
        {"launchType": "LAMBDA"},
        {"taskDefinitionFile": "../other/taskdef.json"},
        {"targetGroups": {"primary": {"targetGroupArn": "a"}, "canary": {"targetGroupArn": "a"}}},
        {"awsvpcConfiguration": {"subnets": [str(at) for at in range(17)]}},
    ],
)
def test_a_wrong_input_is_refused(write: Callable[..., Path], given: Any) -> None:
    with pytest.raises(ConfigError, match=r"app\.pipecd\.yaml:\d+: spec\.input"):
        source(platform, write(**given))


@pytest.mark.parametrize(
    ("image", "version"),
    [(IMAGE, "v1"), ("shop", "latest"), ("host:5000/shop", "latest"), ("a/shop@sha256:12", "sha256:12")],
)
def test_the_version_is_the_images_tag(image: str, version: str) -> None:
    assert tag(image) == version


async def test_every_container_is_a_version(write: Callable[..., Path]) -> None:
    containers = [{"name": "web", "image": IMAGE}, {"name": "log", "image": "fluent/bit:3"}]
    task = {"family": "shop", "containerDefinitions": containers}
    wanted = await platform.desired(source(platform, write(task)))
    found = [(one.name, one.version) for one in platform.versions(wanted)]
    assert found == [("web", "v1"), ("bit", "3")]
    assert platform.strategy(None, wanted).strategy is SyncStrategy.QUICK_SYNC
    assert platform.strategy(wanted, wanted).strategy is SyncStrategy.PIPELINE


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
def test_primary_counts_before_canary(options: dict[str, Any], expected: tuple[int, int]) -> None:
    assert RoutingOptions.model_validate(options).shares == expected


def test_only_actions_of_exactly_both_groups_are_shifted() -> None:
    def forward(*groups: str) -> dict[str, Any]:
        weighted = [{"TargetGroupArn": group, "Weight": 1} for group in groups]
        return {"Type": "forward", "Order": 2, "ForwardConfig": {"TargetGroups": weighted}}

    oidc = {"Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig": {"ClientId": "x"}}
    both = [oidc, forward("p", "c")]
    assert shares(both, "p", "c") == (1, 1) and shares([forward("p", "c", "x")], "p", "c") is None
    assert shares([forward("p")], "p", "c") is None
    first, second = shifted(both, {"p": 90, "c": 10})
    assert first["AuthenticateOidcConfig"] == {"ClientId": "x", "UseExistingClientSecret": True}
    assert second["Order"] == 2 and shares([second], "p", "c") == (90, 10)
    assert shifted([forward("p")], {"p": 90, "c": 10}) == [forward("p")]
