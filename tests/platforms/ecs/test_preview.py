"""What a pull request would change in an ECS application."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.errors import ConfigError
from pipecd.platforms.ecs import platform
from tests.platforms.preview_bench import previewed

GROUPS = {"primary": {"targetGroupArn": "arn:primary", "containerName": "web", "containerPort": 80}}


def folder(at: Path, image: str, count: int = 2, notation: Any = json.dumps, **given: Any) -> Path:
    at.mkdir()
    containers = [
        {"name": "web", "image": image, "environment": [{"name": "COLOUR", "value": "blue"}]},
        {"name": "log", "image": "log:v1"},
    ]
    task = {"family": "shop", "containerDefinitions": containers}
    service = {"serviceName": "shop", "cluster": "c", "desiredCount": count}
    (at / "taskdef.json").write_text(notation(task))
    (at / "servicedef.yaml").write_text(yaml.safe_dump(service))
    spec = {"name": "shop", "input": {"serviceDefinitionFile": "servicedef.yaml", **given}}
    document = {"apiVersion": "pipecd.dev/v1beta1", "kind": "ECSApp", "spec": spec}
    (at / "app.pipecd.yaml").write_text(yaml.safe_dump(document))
    return at


async def test_a_new_image_and_count_are_shown_by_file(tmp_path: Path) -> None:
    found = await previewed(
        platform, folder(tmp_path / "head", "web:v2", 3), folder(tmp_path / "now", "web:v1")
    )
    assert found.summary == "2 changes were detected" and not found.no_change
    lines = found.details.splitlines()
    assert lines[:3] == ["--- Last Deploy", "+++ Head Commit", "# taskdef.json"]
    assert "-  image: web:v1" in lines and "+  image: web:v2" in lines
    assert "# servicedef.yaml" in lines and "-desiredCount: 2" in lines and "+desiredCount: 3" in lines
    assert not any("log:v1" in line and line[0] in "+-" for line in lines)


async def test_another_notation_of_the_same_is_no_change(tmp_path: Path) -> None:
    found = await previewed(
        platform,
        folder(tmp_path / "head", "web:v1", notation=yaml.safe_dump),
        folder(tmp_path / "now", "web:v1"),
    )
    assert found.no_change and not found.details


async def test_what_the_application_says_of_the_rollout_counts(tmp_path: Path) -> None:
    found = await previewed(
        platform,
        folder(tmp_path / "head", "web:v1", targetGroups=GROUPS),
        folder(tmp_path / "now", "web:v1"),
    )
    assert not found.no_change and "+    targetGroupArn: arn:primary" in found.details


async def test_a_first_deployment_is_said_to_be_one(tmp_path: Path) -> None:
    found = await previewed(platform, folder(tmp_path / "head", "web:v1"), None)
    assert found.summary == "This would be the first deployment" and "+  image: web:v1" in found.details


async def test_a_file_that_is_wrong_is_an_error_with_its_place(tmp_path: Path) -> None:
    head = folder(tmp_path / "head", "")
    with pytest.raises(ConfigError, match=r"taskdef\.json:1: containerDefinitions\[0\]\.image: is missing"):
        await previewed(platform, head, None)
