"""An AWS account for every test, and checkouts of an application in it."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipecd.clock import SYSTEM_CLOCK
from pipecd.platforms.aws import AwsProvider
from pipecd.platforms.connections import connection_pool
from pipecd.platforms.ecs import platform
from tests.aws import credential_chain
from tests.platforms.aws.ecs_rules import EcsRules
from tests.platforms.aws.emulator import REGION, Emulator, emulator
from tests.platforms.aws.stage_runner import AwsRunner
from tests.platforms.ecs.cloud import Cloud, create_cloud, files


@pytest.fixture(autouse=True)
async def connections() -> AsyncIterator[None]:
    """SDK clients are shared, as in the agent."""
    async with connection_pool(SYSTEM_CLOCK):
        yield


@pytest.fixture
def rules() -> EcsRules:
    return EcsRules()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, rules: EcsRules) -> Iterator[Emulator]:
    with emulator(rules) as aws, credential_chain(monkeypatch, aws.environment()):
        yield aws


@pytest.fixture
def cloud(aws: Emulator) -> Iterator[Cloud]:
    yield create_cloud(aws)
    assert not aws.violations


@pytest.fixture
def checkout(tmp_path: Path, cloud: Cloud) -> Callable[..., Path]:
    """Writes a commit's files; the image tag is the commit's name."""

    def write(name: str, **more: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file, text in files(cloud, name, **more).items():
            (folder / file).write_text(text)
        return folder

    return write


@pytest.fixture
def runner(checkout: Callable[..., Path]) -> AwsRunner:
    """Deploys commit `v1`; nothing was deployed before."""
    provider = AwsProvider(region=REGION)
    return AwsRunner(platform=platform, provider=provider, target=checkout("v1"), id="deployment-1")
