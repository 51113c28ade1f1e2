from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from tests.piped.recorder import Recorder, new_recorder


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    recorder = new_recorder()
    await recorder.start()
    yield recorder
    await recorder.stop()


@pytest.fixture
async def mirrors(tmp_path: Path) -> AsyncIterator[Mirrors]:
    async with Mirrors(tmp_path / "home", Credentials(), User()) as mirrors:
        yield mirrors
