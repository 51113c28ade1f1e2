"""A control plane, an API key that may write, and an agent with one repository."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipecd.client import ApiKey, Client, Transport, connect
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.git_path_pb2 import ApplicationGitRepository
from pipecd.schema.model.piped_pb2 import Piped
from tests.controlplane.server_fixture import ControlPlane, control_plane
from tests.pipectl.running import REMOTE, Pipectl


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path) as running:
        yield running


@pytest.fixture
async def pipectl(plane: ControlPlane, tmp_path: Path) -> Pipectl:
    made = await plane.console.call("GenerateAPIKey", name="ci", role=APIKey.READ_WRITE)
    key_file = tmp_path / "api-key"
    key_file.write_text(made.key + "\n")
    return Pipectl(plane, key_file)


@pytest.fixture
async def piped_id(plane: ControlPlane) -> str:
    made, _ = await plane.register_piped()

    def own(record: Piped) -> None:
        record.repositories.append(ApplicationGitRepository(id="demo", remote=REMOTE, branch="main"))

    await plane.served.plane.store.update(Piped, made, own)
    return made


@pytest.fixture
async def client(plane: ControlPlane, pipectl: Pipectl) -> AsyncIterator[Client]:
    """What another program with the same key has."""
    key = ApiKey(key=pipectl.key_file.read_text())
    opened = await connect(plane.address, key, Transport(insecure=True))
    yield opened
    await opened.close()
