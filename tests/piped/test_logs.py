"""Stage logs are sent at once, complete, in order, redacted, and survive outages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from pipecd.piped.deploy import stage_logs as module
from pipecd.piped.deploy.stage_logs import StageLogs
from pipecd.secrets import Redactor
from tests.eventually import eventually
from tests.piped.recorder import Recorder


@pytest.fixture(autouse=True)
def long_store_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Storing does not time out on a busy machine."""
    monkeypatch.setattr(module, "STORE_TIMEOUT", 240.0)


@asynccontextmanager
async def running_logs(recorder: Recorder, redactor: Redactor | None = None) -> AsyncIterator[StageLogs]:
    client = recorder.client()
    logs = StageLogs(client, redactor or Redactor())
    task = asyncio.create_task(logs.run())
    try:
        yield logs
    finally:
        task.cancel()
        await client.close()


async def test_line_is_sent_without_waiting_for_more(recorder: Recorder) -> None:
    assert module.BATCH_DELAY < 0.5, "lines appear within a second"
    async with running_logs(recorder) as logs:
        logs.open("d", "s").info("hello")
        await recorder.wait_until(lambda r: [b.log for b in r.seen.values()] == ["hello"])


async def test_store_waits_until_the_lines_are_stored(recorder: Recorder) -> None:
    async with running_logs(recorder) as logs:
        logs.open("d", "s").info("one")
        await logs.store("d", "s")
        assert recorder.lines() == ["one"]
        assert not recorder.completed


async def test_store_waits_for_lines_written_during_an_earlier_checkpoint(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_INTERVAL", 0.0)
    recorder.answering.clear()
    async with running_logs(recorder) as logs:
        writer = logs.open("d", "s")
        writer.info("one")
        await recorder.wait_until(lambda r: r.calls == 1)
        writer.info("two")
        storing = asyncio.create_task(logs.store("d", "s"))
        asyncio.get_running_loop().call_soon(recorder.answering.set)
        await storing
        assert recorder.lines() == ["one", "two"]


async def test_end_of_a_stage_completes_its_log_even_if_it_is_empty(recorder: Recorder) -> None:
    async with running_logs(recorder) as logs:
        logs.open("d", "s")
        logs.complete("d", "s")
        await recorder.wait_until(lambda r: r.completed)


async def test_no_line_is_lost_during_a_control_plane_outage(recorder: Recorder) -> None:
    async with running_logs(recorder) as logs:
        writer = logs.open("d", "s")
        writer.info("before")
        await recorder.wait_until(lambda r: len(r.seen) == 1)
        await recorder.stop()
        for number in range(500):
            writer.info(f"line {number}")
        await recorder.start()
        writer.success("after")
        logs.complete("d", "s")
        await recorder.wait_until(lambda r: r.completed)
    assert recorder.lines() == ["before", *(f"line {number}" for number in range(500)), "after"]


async def test_next_process_appends_after_the_lines_of_the_earlier_one(recorder: Recorder) -> None:
    async with running_logs(recorder) as logs:
        writer = logs.open("d", "s")
        for number in range(1000):
            writer.info(f"first {number}")
        await logs.store("d", "s")
    async with running_logs(recorder) as logs:
        logs.open("d", "s").info("second")
        await logs.store("d", "s")
    assert recorder.lines()[-1] == "second"
    assert len(recorder.lines()) == 1001


async def test_flush_stores_pending_lines_without_completing_the_log(recorder: Recorder) -> None:
    client = recorder.client()
    logs = StageLogs(client, Redactor())
    logs.open("d", "s").info("last line")
    await logs.flush()
    assert recorder.lines() == ["last line"]
    assert not recorder.completed
    await client.close()


async def test_secrets_are_redacted(recorder: Recorder) -> None:
    async with running_logs(recorder, Redactor(["hunter2hunter2"])) as logs:
        logs.open("d", "s").error("password is hunter2hunter2")
        await logs.store("d", "s")
    assert recorder.lines() == ["password is ******"]


async def test_each_line_is_a_block_and_long_lines_are_split(recorder: Recorder) -> None:
    async with running_logs(recorder) as logs:
        logs.open("d", "s").info("a\n\n" + "x" * (module.MAX_BLOCK_LENGTH + 1) + "\n")
        await logs.store("d", "s")
    assert recorder.lines() == ["a", " ", "x" * module.MAX_BLOCK_LENGTH, "x"]


async def test_oldest_lines_are_dropped_when_the_buffer_is_full_and_the_log_says_so(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BUFFERED", 1_000)
    async with running_logs(recorder) as logs:
        writer = logs.open("d", "s")
        for number in range(300):
            writer.info(f"line {number:05}")
        await logs.store("d", "s")
    lines = recorder.lines()
    assert len(lines) == 100
    assert lines[0] == "[200 lines were dropped: the control plane was unreachable for too long] line 00200"
    assert lines[-1] == "line 00299"


async def test_rejected_log_does_not_block_other_logs(recorder: Recorder) -> None:
    recorder.refuse = grpc.StatusCode.FAILED_PRECONDITION
    async with running_logs(recorder) as logs:
        logs.open("d", "s").info("late")
        async with asyncio.timeout(120):
            await logs.store("d", "s")
        recorder.refuse = None
        logs.open("d", "other").info("fine")
        await logs.store("d", "other")
    assert recorder.lines() == ["fine"]


async def test_dropped_lines_are_counted_over_all_failed_attempts(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BUFFERED", 1_000)
    client = recorder.client()
    logs = StageLogs(client, Redactor())
    writer = logs.open("d", "s")
    recorder.refuse = grpc.StatusCode.RESOURCE_EXHAUSTED
    for number in range(300):
        writer.info(f"line {number:05}")
        if number % 100 == 50:
            await logs.flush()
    recorder.refuse = None
    await logs.flush()
    await client.close()
    assert recorder.lines()[0].startswith("[200 lines were dropped: ")


async def test_lines_dropped_while_they_were_being_stored_do_not_count(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BUFFERED", 1_000)
    recorder.answering.clear()
    client = recorder.client()
    logs = StageLogs(client, Redactor())
    writer = logs.open("d", "s")
    for number in range(100):
        writer.info(f"line {number:05}")
    storing = asyncio.create_task(logs.flush())
    await recorder.wait_until(lambda r: r.calls == 1)
    for number in range(100, 250):
        writer.info(f"line {number:05}")
    recorder.answering.set()
    await storing
    await logs.flush()
    await client.close()
    lines = recorder.lines()
    assert lines[:100] == [f"line {number:05}" for number in range(100)]
    assert lines[100].startswith("[50 lines were dropped: ")
    assert len(lines) == 200


async def test_rejected_log_with_dropped_lines_is_completed_and_stops_nothing(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BUFFERED", 1_000)
    recorder.refuse = grpc.StatusCode.FAILED_PRECONDITION
    async with running_logs(recorder) as logs:
        for number in range(300):
            logs.open("d", "s").info(f"line {number:05}")

        async def rejected() -> bool:
            return recorder.calls > 0

        await eventually(rejected)
        recorder.refuse = None
        logs.complete("d", "s")
        logs.open("d", "other").info("fine")
        await logs.store("d", "other")
        await recorder.wait_until(lambda r: r.completed)
    assert recorder.lines() == ["fine"]
