"""Stage logs of any length: pages, limits, late lines, and what concurrent checkpoints store."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import LocalStore

from pipecd.controlplane.settings import StageLogSettings
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.blobs import Blobs
from pipecd.controlplane.store.stage_logs import StageLogs
from pipecd.errors import NotFound, Refused
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.stage_log_pb2 import LogBlock
from tests.loop_latency import LIMIT, loop_latency

DEPLOYMENT = Deployment(id="d1", project_id="shop")


@pytest.fixture
def objects(tmp_path: Path) -> LocalStore:
    (tmp_path / "objects").mkdir()
    return LocalStore(tmp_path / "objects", mkdir=True)


def open_logs(store: Store, objects: LocalStore, **settings: int) -> StageLogs:
    return StageLogs(store, Blobs(objects), StageLogSettings(**settings))


@pytest.fixture
async def logs(store: Store, objects: LocalStore) -> AsyncIterator[StageLogs]:
    """With tiny chunks and pages, so that twenty lines are many of both."""
    yield open_logs(store, objects, chunk_size=100, page_size=120, max_size=1_000_000)


def blocks(indices: Iterable[int], text: str = "a line of some length") -> list[LogBlock]:
    return [LogBlock(index=index, log=text, created_at=1) for index in indices]


async def read_all(logs: StageLogs, offset: int = 0) -> tuple[list[int], bool]:
    """The indices of all pages, and whether the last one says that the log is complete."""
    indices: list[int] = []
    while True:
        page = await logs.read("d1", "s", 0, offset)
        indices += [block.index for block in page.blocks]
        offset = page.blocks[-1].index + 1 if page.blocks else offset
        if page.caught_up:
            assert not (await logs.read("d1", "s", 0, offset)).blocks
            return indices, page.completed
        assert page.blocks and not page.completed


async def chunk_count(objects: LocalStore) -> int:
    return sum([len(page) async for page in obstore.list(objects, "log/")])


async def test_a_long_log_is_read_in_pages(logs: StageLogs) -> None:
    with pytest.raises(NotFound):
        await logs.read("d1", "s", 0)
    await logs.checkpoint(DEPLOYMENT, "s", 0, blocks(range(1, 51)), completed=False)
    await logs.append(DEPLOYMENT, "s", 0, blocks(range(51, 61)))
    first = await logs.read("d1", "s", 0)
    assert 1 <= len(first.blocks) <= 5 and not first.completed
    assert await read_all(logs) == (list(range(1, 61)), False)
    assert await read_all(logs, offset=48) == (list(range(48, 61)), False)
    await logs.checkpoint(DEPLOYMENT, "s", 0, blocks(range(55, 62)), completed=True)
    assert await read_all(logs) == (list(range(1, 62)), True)
    assert await read_all(logs, offset=62) == ([], True)


async def test_lines_that_arrive_late_are_inserted(logs: StageLogs) -> None:
    """A part that was lost is contained in the next checkpoint; a stopping process reports old lines."""
    await logs.append(DEPLOYMENT, "s", 0, blocks([10, 11]))
    await logs.append(DEPLOYMENT, "s", 0, blocks([14, 15]))
    await logs.checkpoint(DEPLOYMENT, "s", 0, blocks(range(10, 16)), completed=False)
    await logs.checkpoint(DEPLOYMENT, "s", 0, blocks([30, 31]), completed=False)
    await logs.append(DEPLOYMENT, "s", 0, blocks([3, 20]))
    assert await read_all(logs) == ([3, *range(10, 16), 20, 30, 31], False)
    await logs.checkpoint(DEPLOYMENT, "s", 0, blocks([2, 12, 40]), completed=True)
    assert await read_all(logs) == ([2, 3, *range(10, 16), 20, 30, 31, 40], True)


async def test_a_repeated_or_concurrent_checkpoint_stores_each_line_once(logs: StageLogs) -> None:
    async def checkpoint() -> None:
        await logs.checkpoint(DEPLOYMENT, "s", 0, blocks(range(1, 31)), completed=False)

    await asyncio.gather(*(checkpoint() for _ in range(4)), return_exceptions=True)
    await checkpoint()
    assert await read_all(logs) == (list(range(1, 31)), False)


async def test_small_checkpoints_share_a_chunk(store: Store, objects: LocalStore) -> None:
    logs = open_logs(store, objects)
    for index in range(1, 21):
        await logs.checkpoint(DEPLOYMENT, "s", 0, blocks([index]), completed=index == 20)
    assert await chunk_count(objects) == 1
    assert await read_all(logs) == (list(range(1, 21)), True)


async def test_the_middle_of_a_log_that_is_too_long_is_left_out(store: Store, objects: LocalStore) -> None:
    logs = open_logs(store, objects, chunk_size=1_000, page_size=3_000, max_size=10_000)
    for start in range(0, 2_000, 100):
        await logs.checkpoint(DEPLOYMENT, "s", 0, blocks(range(start, start + 100)), completed=start == 1_900)
    indices, completed = await read_all(logs)
    page = await logs.read("d1", "s", 0, 0, max_size=100_000)
    (notice,) = [block for block in page.blocks if "left out here" in block.log]
    assert completed and indices[:100] == list(range(100)) and indices[-100:] == list(range(1_900, 2_000))
    assert len(indices) < 500 and notice.index in indices
    assert f"[{2_000 - len(indices) + 1:,} lines" in notice.log, notice.log
    # The objects of the lines that were left out are deleted.
    assert await chunk_count(objects) <= 12


async def test_the_end_of_a_log_is_read_without_its_start(logs: StageLogs) -> None:
    await logs.checkpoint(DEPLOYMENT, "s", 0, blocks(range(1, 51)), completed=False)
    await logs.append(DEPLOYMENT, "s", 0, blocks([51]))
    page, cut = await logs.read_end("d1", "s", 0, 200)
    assert cut and [block.index for block in page.blocks] == list(range(52 - len(page.blocks), 52))
    whole, cut = await logs.read_end("d1", "s", 0, 1_000_000)
    assert not cut and len(whole.blocks) == 51


async def test_the_end_of_a_log_of_many_small_reports_is_complete(logs: StageLogs) -> None:
    await logs.checkpoint(DEPLOYMENT, "s", 0, blocks(range(1, 4)), completed=False)
    for index in range(4, 454):
        await logs.append(DEPLOYMENT, "s", 0, blocks([index]))
    page, cut = await logs.read_end("d1", "s", 0, 1_000_000)
    assert [block.index for block in page.blocks] == list(range(1, 454)) and not cut
    page, cut = await logs.read_end("d1", "s", 0, 300 * page.blocks[-1].ByteSize())
    assert [block.index for block in page.blocks][-250:] == list(range(204, 454)) and cut


async def test_a_page_of_many_small_reports_takes_few_queries(
    store: Store, objects: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs, rows, queries = open_logs(store, objects), store.database.rows, list[object]()
    for index in range(1, 121):
        await logs.append(DEPLOYMENT, "s", 0, blocks([index]))

    async def counted(query: Any, parameters: Any = None) -> Any:
        queries.append(query)
        return await rows(query, parameters)

    monkeypatch.setattr(store.database, "rows", counted)
    assert await read_all(logs) == (list(range(1, 121)), False)
    page, _ = await logs.read_end("d1", "s", 0, 1_000_000)
    assert len(page.blocks) == 120
    assert len(queries) <= 10


async def test_lines_without_a_checkpoint_are_limited(store: Store, objects: LocalStore) -> None:
    logs = open_logs(store, objects, max_unmerged_size=10_000)
    with pytest.raises(Refused, match="since its last checkpoint"):
        for start in range(0, 1_000, 100):
            await logs.append(DEPLOYMENT, "s", 0, blocks(range(start, start + 100)))
    await logs.checkpoint(DEPLOYMENT, "s", 0, blocks(range(1_000)), completed=False)
    await logs.append(DEPLOYMENT, "s", 0, blocks([1_000]))
    assert await read_all(logs) == (list(range(1_001)), False)


async def test_a_log_of_many_lines_does_not_block_the_loop(store: Store, objects: LocalStore) -> None:
    """Two hundred thousand lines are reported, stored, and read page by page."""
    logs = open_logs(store, objects)
    lines = blocks(range(1, 50_001), "x" * 60)
    async with loop_latency() as latency:
        for part in range(4):
            for block in lines:
                block.index += 50_000 if part else 0
            await logs.append(DEPLOYMENT, "s", 0, lines)
            await logs.checkpoint(DEPLOYMENT, "s", 0, lines, completed=part == 3)
        page = await logs.read("d1", "s", 0, 150_000)
        assert page.blocks[0].index == 150_000 and len(page.blocks) == 10_000
        assert (await logs.read("d1", "s", 0, 199_999)).completed
    assert latency.longest < LIMIT
