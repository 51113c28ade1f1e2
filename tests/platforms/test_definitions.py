"""Files of AWS platforms as people and generators write them: spelling, nulls, names, hostile content."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.errors import ConfigError
from pipecd.platforms.awslambda import platform as awslambda
from pipecd.platforms.awslambda.function import configuration
from pipecd.platforms.ecs import platform as ecs
from pipecd.platforms.file_preview import file_preview
from tests.loop_latency import LIMIT, loop_latency
from tests.platforms.aws.stage_runner import load_source

FUNCTION = """apiVersion: pipecd.dev/v1beta1
kind: LambdaFunction
spec:
  name: shop
  role: arn:aws:iam::123456789012:role/shop
  image: shop:v1
  memory: 512
  timeout: 30
"""
TASK = "family: shop\ncontainerDefinitions:\n  - name: web\n    image: shop:1.10\n"
SERVICE = "serviceName: shop\ncluster: main\ndesiredCount: 2\n"


async def read(folder: Path, platform: Any, *, app_input: Any = None, **files: str) -> Any:
    spec = {"name": "shop", "input": app_input or {}}
    document = {"apiVersion": "pipecd.dev/v1beta1", "kind": platform.config_kind, "spec": spec}
    (folder / "app.pipecd.yaml").write_text(yaml.safe_dump(document))
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return await platform.load_desired_state(load_source(platform, folder))


async def test_a_function_keeps_the_spelling_of_its_values(tmp_path: Path) -> None:
    values = "  environments: {VERSION: 1.10, TIME: 12:30.5, OCTAL: 0755, ON: on, FLAG: TRUE, 1: one}\n"
    function = await read(
        tmp_path, awslambda, function__yaml=f"{FUNCTION}{values}  tags: {{version: 0.30}}\n"
    )
    assert function.environments == {
        "VERSION": "1.10",
        "TIME": "12:30.5",
        "OCTAL": "0755",
        "ON": "on",
        "FLAG": "TRUE",
        "1": "one",
    }
    assert function.tags == {"version": "0.30"}
    assert type(configuration(function)["MemorySize"]) is int


async def test_sections_of_a_function_may_be_empty(tmp_path: Path) -> None:
    empty = "  environments:\n  tags:\n  vpcConfig:\n  layers:\n  architectures:\n  source:\n---\n"
    function = await read(tmp_path, awslambda, function__yaml=FUNCTION + empty)
    assert not function.environments and not function.tags and function.vpc_config is None


async def test_a_task_keeps_the_spelling_of_its_values(tmp_path: Path) -> None:
    environment = (
        "    environment: [{name: V, value: 1.10}, {name: T, value: 12:30.5}, {name: F, value: TRUE}]\n"
    )
    numbers = "    essential: True\n    cpu: 0128\ncpu: 256\n"
    desired = await read(tmp_path, ecs, taskdef__json=TASK + environment + numbers)
    (container,) = desired.task.fields["containerDefinitions"]
    assert [item["value"] for item in container["environment"]] == ["1.10", "12:30.5", "TRUE"]
    assert container["essential"] is True and desired.task.fields["cpu"] == "256"
    assert "1.10" in file_preview(None, {"taskdef.json": desired.task.fields}).details


async def test_sections_of_ecs_files_may_be_empty_and_names_absolute(tmp_path: Path) -> None:
    desired = await read(
        tmp_path,
        ecs,
        app_input={"taskDefinitionFile": "/task.yaml", "serviceDefinitionFile": "/service.yaml"},
        task__yaml=TASK + "    environment:\n    secrets:\nvolumes:\nplacementConstraints:\n---\n",
        service__yaml=SERVICE + "tags:\nnetworkConfiguration:\nloadBalancers:\n",
    )
    assert desired.service.desired_count == 2 and desired.service.tags == {}
    assert "volumes" not in desired.task.fields


BOMB = "\n".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}' if n else 'x'] * 9)}]" for n in range(9)) + "\n"
HOSTILE = {
    "aliases of aliases": BOMB + TASK,
    "deep": TASK + "volumes: " + "[" * 50_000,
    "large": TASK + "# " + "x" * 5_000_000,
    "not a mapping": "[1, 2]",
    "a large number": TASK + "cpu: " + "9" * 50_000,
    "a boolean for a number": TASK + "    cpu: TRUE\n",
    "keys that are no text": TASK + "? [a]\n: b\n",
    "lists for texts": TASK.replace("name: web", "name: [web]"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_definition_is_refused_and_blocks_nothing(name: str, tmp_path: Path) -> None:
    async with loop_latency() as latency:
        with pytest.raises(ConfigError):
            await read(tmp_path, ecs, taskdef__json=HOSTILE[name])
        with pytest.raises(ConfigError):
            await read(tmp_path, awslambda, function__yaml=FUNCTION + HOSTILE[name])
    assert latency.longest < LIMIT
