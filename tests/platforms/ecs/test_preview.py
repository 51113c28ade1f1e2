"""Plan preview of an ECS application."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.errors import ConfigError
from pipecd.platforms.ecs import platform
from tests.platforms.make_preview import make_preview

GROUPS = {"primary": {"targetGroupArn": "arn:primary", "containerName": "web", "containerPort": 80}}


def write_application(
    at: Path, image: str, count: int = 2, notation: Any = json.dumps, **app_input: Any
) -> Path:
    at.mkdir()
    containers = [
        {"name": "web", "image": image, "environment": [{"name": "COLOUR", "value": "blue"}]},
        {"name": "log", "image": "log:v1"},
    ]
    task = {"family": "shop", "containerDefinitions": containers}
    service = {"serviceName": "shop", "cluster": "c", "desiredCount": count}
    (at / "taskdef.json").write_text(notation(task))
    (at / "servicedef.yaml").write_text(yaml.safe_dump(service))
    spec = {"name": "shop", "input": {"serviceDefinitionFile": "servicedef.yaml", **app_input}}
    document = {"apiVersion": "pipecd.dev/v1beta1", "kind": "ECSApp", "spec": spec}
    (at / "app.pipecd.yaml").write_text(yaml.safe_dump(document))
    return at


async def test_a_new_image_and_count_are_shown_per_file(tmp_path: Path) -> None:
    preview = await make_preview(
        platform,
        write_application(tmp_path / "head", "web:v2", 3),
        write_application(tmp_path / "now", "web:v1"),
    )
    assert preview.summary == "2 changes were detected" and not preview.no_change
    lines = preview.details.splitlines()
    assert lines[:3] == ["--- Last Deploy", "+++ Head Commit", "# taskdef.json"]
    assert "-  image: web:v1" in lines and "+  image: web:v2" in lines
    assert "# servicedef.yaml" in lines and "-desiredCount: 2" in lines and "+desiredCount: 3" in lines
    assert not any("log:v1" in line and line[0] in "+-" for line in lines)


async def test_notation_is_no_change(tmp_path: Path) -> None:
    preview = await make_preview(
        platform,
        write_application(tmp_path / "head", "web:v1", notation=yaml.safe_dump),
        write_application(tmp_path / "now", "web:v1"),
    )
    assert preview.no_change and not preview.details


async def test_rollout_settings_of_the_application_are_compared(tmp_path: Path) -> None:
    preview = await make_preview(
        platform,
        write_application(tmp_path / "head", "web:v1", targetGroups=GROUPS),
        write_application(tmp_path / "now", "web:v1"),
    )
    assert not preview.no_change and "+    targetGroupArn: arn:primary" in preview.details


async def test_a_first_deployment_is_reported_as_such(tmp_path: Path) -> None:
    preview = await make_preview(platform, write_application(tmp_path / "head", "web:v1"), None)
    assert preview.summary == "This would be the first deployment" and "+  image: web:v1" in preview.details


async def test_an_invalid_file_is_an_error_with_its_place(tmp_path: Path) -> None:
    head = write_application(tmp_path / "head", "")
    with pytest.raises(ConfigError, match=r"taskdef\.json:1: containerDefinitions\[0\]\.image: is missing"):
        await make_preview(platform, head, None)


async def test_a_field_that_aws_refuses_is_an_error_of_the_head_but_not_of_what_runs(tmp_path: Path) -> None:
    refused = write_application(tmp_path / "refused", "web:v1")
    service = yaml.safe_load((refused / "servicedef.yaml").read_text())
    service |= {
        "deploymentController": {"type": "EXTERNAL"},
        "vpcLatticeConfigurations": [{"portName": "web"}],
    }
    (refused / "servicedef.yaml").write_text(yaml.safe_dump(service))
    fixed = write_application(tmp_path / "fixed", "web:v1")
    with pytest.raises(
        ConfigError, match=r"servicedef\.yaml:\d+: vpcLatticeConfigurations: AWS does not allow"
    ):
        await make_preview(platform, refused, fixed)
    assert "-vpcLatticeConfigurations:" in (await make_preview(platform, fixed, refused)).details
