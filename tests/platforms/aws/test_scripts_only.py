"""Applications that deploy with scripts only need no function manifest and no task definition."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.errors import ConfigError
from pipecd.model.deployment import SyncStrategy
from pipecd.platforms.awslambda import platform as lambda_platform
from pipecd.platforms.ecs import platform as ecs_platform
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.kind_pb2 import ECS, LAMBDA
from tests.platforms.aws.observation import observation_request
from tests.platforms.aws.stage_runner import AwsRunner, assert_succeeded, failure_text, load_source
from tests.platforms.make_preview import make_preview
from tests.world import world

SCRIPT = {"name": "SCRIPT_RUN", "with": {"run": "echo deploy"}}
PLATFORMS = [lambda_platform, ecs_platform]


def app_file(kind: str, *stages: dict[str, Any], **spec: Any) -> str:
    spec = {"name": "shop", "pipeline": {"stages": list(stages)}, **spec}
    return yaml.safe_dump({"apiVersion": "pipecd.dev/v1beta1", "kind": kind, "spec": spec})


def write(folder: Path, platform: Any, *stages: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "app.pipecd.yaml").write_text(app_file(platform.config_kind, *stages))
    return folder


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.config_kind)
async def test_nothing_is_read_planned_or_compared(tmp_path: Path, platform: Any) -> None:
    folder = write(tmp_path / "app", platform, SCRIPT)
    desired = await platform.load_desired_state(load_source(platform, folder))
    assert desired is None and platform.versions(desired) == ()
    assert platform.choose_strategy(None, desired).strategy is SyncStrategy.PIPELINE
    assert platform.refused_changes(desired, desired) == ()
    request = await observation_request(platform, None, folder)
    assert await platform.observes.load(request) == []
    assert (await platform.compares.detect(request)).in_sync
    assert (await make_preview(platform, folder, folder)).no_change
    runner = AwsRunner(platform=platform, provider=None, target=folder, running=folder)
    assert "nothing to restore" in assert_succeeded(await runner.run("ROLLBACK")).note
    assert "file not found" in failure_text(await runner.run(platform.quick_sync.name))


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.config_kind)
async def test_a_pipeline_with_a_stage_of_the_platform_needs_its_files(tmp_path: Path, platform: Any) -> None:
    folder = write(tmp_path / "app", platform, SCRIPT, {"name": platform.quick_sync.name})
    with pytest.raises(ConfigError, match="file not found"):
        await platform.load_desired_state(load_source(platform, folder))


async def test_the_scripts_are_run(tmp_path: Path) -> None:
    """As PipeCD's example of an application that deploys with AWS SAM."""
    config = {"config": {"region": "eu-central-1"}}
    providers = [{"name": "lambda", "type": "LAMBDA", **config}, {"name": "ecs", "type": "ECS", **config}]
    sam = {"name": "CUSTOM_SYNC", "with": {"run": "echo sam deploy"}}
    files = {
        "sam/app.pipecd.yaml": app_file("LambdaApp", sam),
        "esp/app.pipecd.yaml": app_file("ECSApp", SCRIPT),
    }
    async with world(tmp_path) as w, w.agent(platformProviders=providers):
        await w.push("Scripts", files)
        for name, kind, provider in (("sam", LAMBDA, "lambda"), ("esp", ECS, "ecs")):
            app = await w.register(name, kind=kind, provider=provider)
            deployment = await w.wait_for_deployment(app)
            assert deployment.status == DeploymentStatus.DEPLOYMENT_SUCCESS, deployment.status_reason
