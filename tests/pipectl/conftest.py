"""Fixtures: a control plane, a READ_WRITE API key, and an agent with one repository."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipecd.client import ApiKey, Client, Transport, connect
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.git_path_pb2 import ApplicationGitRepository
from pipecd.schema.model.piped_pb2 import Piped
from tests.actors import TESTER
from tests.controlplane.server_fixture import ControlPlane, control_plane
from tests.pipectl.pipectl_process import REMOTE, Pipectl


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path) as running:
        yield running


@pytest.fixture
async def pipectl(plane: ControlPlane, tmp_path: Path) -> Pipectl:
    response = await plane.console.call("GenerateAPIKey", name="ci", role=APIKey.READ_WRITE)
    key_file = tmp_path / "api-key"
    key_file.write_text(response.key + "\n")
    return Pipectl(plane, key_file)


@pytest.fixture
async def piped_id(plane: ControlPlane) -> str:
    piped_id, _ = await plane.register_piped()

    def add_repository(record: Piped) -> None:
        record.repositories.append(ApplicationGitRepository(id="demo", remote=REMOTE, branch="main"))

    await plane.server.services.store.update(Piped, piped_id, add_repository, by=TESTER)
    return piped_id


@pytest.fixture
async def client(plane: ControlPlane, pipectl: Pipectl) -> AsyncIterator[Client]:
    """A client of another program with the same API key."""
    key = ApiKey(key=pipectl.key_file.read_text())
    client = await connect(plane.address, key, Transport(insecure=True))
    yield client
    await client.close()
