from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipecd.platforms.awslambda import platform
from pipecd.platforms.awslambda.config import LambdaProvider
from tests.aws import chain
from tests.platforms.aws.bench import Bench
from tests.platforms.aws.emulator import REGION, Emulator, emulator
from tests.platforms.awslambda.cloud import World, cloud, files


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with emulator() as made, chain(monkeypatch, made.environment()):
        s3 = made.client("s3")
        s3.create_bucket(Bucket="code", CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket="code", VersioningConfiguration={"Status": "Enabled"})
        yield made


@pytest.fixture
def world(aws: Emulator) -> Iterator[World]:
    yield cloud(aws)
    assert not aws.broken


@pytest.fixture
def role(world: World) -> str:
    return world.role


@pytest.fixture
def checkout(tmp_path: Path, world: World) -> Callable[..., Path]:
    """Writes a commit's files: a function whose image has the commit's name as its tag."""

    def write(name: str, **function: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file, text in files(world, name, **function).items():
            (folder / file).write_text(text)
        return folder

    return write


@pytest.fixture
def bench(checkout: Callable[..., Path]) -> Bench:
    """Commit `v2` is to be deployed; nothing was deployed before."""
    return Bench(
        platform=platform, provider=LambdaProvider(region=REGION), target=checkout("v1"), id="deployment-1"
    )
