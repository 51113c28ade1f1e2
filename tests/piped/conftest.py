from collections.abc import AsyncIterator

import pytest

from tests.piped.recorder import Recorder


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    await recorder.come()
    yield recorder
    await recorder.go()
