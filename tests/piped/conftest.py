from collections.abc import AsyncIterator

import pytest

from tests.piped.recorder import Recorder


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    await recorder.start()
    yield recorder
    await recorder.stop()
