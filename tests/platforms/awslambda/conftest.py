from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipecd.clock import SYSTEM_CLOCK
from pipecd.platforms.awslambda import platform
from pipecd.platforms.awslambda.config import LambdaProvider
from pipecd.platforms.connections import connection_pool
from tests.aws import credential_chain
from tests.platforms.aws.emulator import REGION, Emulator, emulator
from tests.platforms.aws.lambda_rules import LambdaRules
from tests.platforms.aws.stage_runner import AwsRunner
from tests.platforms.awslambda.cloud import Cloud, create_bucket, create_cloud, files


@pytest.fixture(autouse=True)
async def connections() -> AsyncIterator[None]:
    """SDK clients are shared, as in the agent."""
    async with connection_pool(SYSTEM_CLOCK):
        yield


@pytest.fixture
def rules() -> LambdaRules:
    return LambdaRules()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, rules: LambdaRules) -> Iterator[Emulator]:
    with emulator(rules) as aws, credential_chain(monkeypatch, aws.environment()):
        aws.set_up_once(create_bucket)
        yield aws


@pytest.fixture
def cloud(aws: Emulator) -> Iterator[Cloud]:
    yield create_cloud(aws)
    assert not aws.violations


@pytest.fixture
def role(cloud: Cloud) -> str:
    return cloud.role


@pytest.fixture
def checkout(tmp_path: Path, cloud: Cloud) -> Callable[..., Path]:
    """Writes a commit's files: a function whose image tag is the commit's name."""

    def write(name: str, **function: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file, text in files(cloud, name, **function).items():
            (folder / file).write_text(text)
        return folder

    return write


@pytest.fixture
def runner(checkout: Callable[..., Path]) -> AwsRunner:
    """Deploys commit `v1`; nothing was deployed before."""
    return AwsRunner(
        platform=platform, provider=LambdaProvider(region=REGION), target=checkout("v1"), id="deployment-1"
    )
