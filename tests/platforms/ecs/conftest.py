"""A cloud for every test, and checkouts of an application that runs there."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipecd.platforms.aws import AwsProvider
from pipecd.platforms.ecs import platform
from tests.aws import chain
from tests.platforms.aws.bench import Bench
from tests.platforms.aws.emulator import REGION, Emulator, emulator
from tests.platforms.ecs.cloud import World, cloud, files


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with emulator() as made, chain(monkeypatch, made.environment()):
        yield made


@pytest.fixture
def world(aws: Emulator) -> Iterator[World]:
    yield cloud(aws)
    assert not aws.broken


@pytest.fixture
def checkout(tmp_path: Path, world: World) -> Callable[..., Path]:
    """Writes a commit's files: its image has the commit's name as its tag."""

    def write(name: str, **more: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file, text in files(world, name, **more).items():
            (folder / file).write_text(text)
        return folder

    return write


@pytest.fixture
def bench(checkout: Callable[..., Path]) -> Bench:
    """Commit `v1` is to be deployed; nothing was deployed before."""
    provider = AwsProvider(region=REGION)
    return Bench(platform=platform, provider=provider, target=checkout("v1"), id="deployment-1")
