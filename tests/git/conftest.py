from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.quickstart.git_server import GitServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    with GitServer(tmp_path / "remote") as server:
        yield server


@pytest.fixture
async def mirrors(tmp_path: Path) -> AsyncIterator[Mirrors]:
    async with Mirrors(tmp_path / "home", Credentials(), User()) as mirrors:
        yield mirrors
