"""The examples of the guides are loaded as an agent loads them."""

import re
from pathlib import Path

import pytest
import yaml

from pipecd.config import piped
from pipecd.platforms import platform
from tests.platforms.aws.bench import source

GUIDES = Path(__file__).parents[3] / "docs/guide"
#: A file's name in backticks, at the start of a line, and the next block of code.
_EXAMPLE = re.compile(r"^`([\w./]+)`[^\n]*:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PROVIDERS = re.compile(r"^```yaml\n(platformProviders:.*?)^```", re.MULTILINE | re.DOTALL)


def examples(guide: str, folder: Path) -> None:
    found = _EXAMPLE.findall((GUIDES / guide).read_text())
    assert found
    for name, text in found:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


async def test_the_guide_to_lambda(tmp_path: Path) -> None:
    examples("lambda.md", tmp_path)
    found = source(platform("LAMBDA"), tmp_path)
    names = [stage.name for stage in found.config.spec.pipeline.stages]
    assert names == ["LAMBDA_CANARY_ROLLOUT", "LAMBDA_PROMOTE", "WAIT", "LAMBDA_PROMOTE"]
    wanted = await platform("LAMBDA").desired(found)
    assert wanted.version == "v1.4.0" and wanted.memory == 512


async def test_the_guide_to_ecs(tmp_path: Path) -> None:
    examples("ecs.md", tmp_path)
    found = source(platform("ECS"), tmp_path)
    names = [stage.name for stage in found.config.spec.pipeline.stages]
    assert set(names) == {*platform("ECS").options, "WAIT"} - {"ECS_SYNC"}
    wanted = await platform("ECS").desired(found)
    assert wanted.service.desired_count == 2 and wanted.service.tags == {"team": "shop"}
    task = tmp_path / "task"
    (task / "taskdef.json").write_text((tmp_path / "taskdef.json").read_text())
    alone = await platform("ECS").desired(source(platform("ECS"), task))
    assert alone.service is None and alone.input.run_standalone_task


@pytest.mark.parametrize("guide", ["lambda.md", "ecs.md"])
def test_the_platform_providers_of_the_guides(guide: str) -> None:
    (text,) = _PROVIDERS.findall((GUIDES / guide).read_text())
    spec = {
        "projectID": "shop",
        "pipedID": "piped",
        "pipedKeyData": "a2V5",
        "apiAddress": "localhost:443",
        **yaml.safe_load(text),
    }
    document = {"apiVersion": "pipecd.dev/v1beta1", "kind": "Piped", "spec": spec}
    (provider,) = piped.load(yaml.safe_dump(document), "piped.yaml").providers
    assert platform(provider.type).provider.model_validate(provider.config).region == "eu-central-1"
