"""Stage logs are sent at once, complete, in order, redacted, and survive outages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from pipecd.piped.deploy.stage_logs import StageLogs, StageLogWriter
from pipecd.piped.settings import StageLogSettings
from pipecd.schema.model.stage_log_pb2 import LogBlock
from pipecd.secrets import Redactor
from tests.piped.memory import memory_client
from tests.piped.recorder import Recorder, new_recorder
from tests.virtual_clock import VirtualClock, settle

SETTINGS = StageLogSettings()
#: Holds a hundred of these lines.
NOW = VirtualClock().now()
LINE = LogBlock(index=int(NOW * 1_000_000), log="line 00000", created_at=int(NOW))
LINE_COST = LINE.ByteSize() + 64
SMALL_BUFFER = StageLogSettings(max_buffered=100 * LINE_COST)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def recorder() -> Recorder:
    """Without a server: the client calls it in memory."""
    return new_recorder()


@asynccontextmanager
async def running_logs(
    recorder: Recorder,
    clock: VirtualClock,
    redactor: Redactor | None = None,
    settings: StageLogSettings = SETTINGS,
) -> AsyncIterator[StageLogs]:
    logs = StageLogs(memory_client(recorder, clock), redactor or Redactor(), clock, settings)
    task = asyncio.create_task(logs.run())
    try:
        yield logs
    finally:
        task.cancel()


async def test_line_is_sent_without_waiting_for_more(recorder: Recorder, clock: VirtualClock) -> None:
    async with running_logs(recorder, clock) as logs:
        logs.open("d", "s").info("hello")
        await clock.advance(0.5)
        assert [block.log for block in recorder.seen.values()] == ["hello"], "lines appear within a second"


async def test_lines_are_stored_every_two_minutes(recorder: Recorder, clock: VirtualClock) -> None:
    async with running_logs(recorder, clock) as logs:
        logs.open("d", "s").info("hello")
        await clock.advance(119)
        assert not recorder.stored
        await clock.advance(2)
        assert recorder.lines() == ["hello"]
        assert not recorder.completed


async def test_store_waits_until_the_lines_are_stored(recorder: Recorder, clock: VirtualClock) -> None:
    async with running_logs(recorder, clock) as logs:
        logs.open("d", "s").info("one")
        await clock.run(logs.store("d", "s"))
        assert recorder.lines() == ["one"]
        assert not recorder.completed


async def test_store_waits_for_lines_written_during_an_earlier_checkpoint(
    recorder: Recorder, clock: VirtualClock
) -> None:
    recorder.answering.clear()
    async with running_logs(recorder, clock, settings=StageLogSettings(checkpoint_interval=0.0)) as logs:
        writer = logs.open("d", "s")
        writer.info("one")
        await clock.advance(1)
        assert recorder.calls == 1
        writer.info("two")
        storing = asyncio.create_task(logs.store("d", "s"))
        await settle()
        recorder.answering.set()
        await clock.run(asyncio.wait_for(storing, None))
        assert recorder.lines() == ["one", "two"]


async def test_the_end_of_a_stage_waits_for_its_log_only_for_a_while(
    recorder: Recorder, clock: VirtualClock
) -> None:
    recorder.refuse = grpc.StatusCode.UNAVAILABLE
    async with running_logs(recorder, clock) as logs:
        logs.open("d", "s").info("one")
        started = clock.monotonic()
        await clock.run(logs.store("d", "s"))
        assert clock.monotonic() - started == pytest.approx(SETTINGS.store_timeout)


async def test_end_of_a_stage_completes_its_log_even_if_it_is_empty(
    recorder: Recorder, clock: VirtualClock
) -> None:
    async with running_logs(recorder, clock) as logs:
        logs.open("d", "s")
        logs.complete("d", "s")
        await clock.advance(1)
        assert recorder.completed


async def test_no_line_is_lost_during_a_control_plane_outage(recorder: Recorder, clock: VirtualClock) -> None:
    async with running_logs(recorder, clock) as logs:
        writer = logs.open("d", "s")
        writer.info("before")
        await clock.advance(1)
        recorder.refuse = grpc.StatusCode.UNAVAILABLE
        for number in range(100):
            writer.info(f"line {number}")
            await clock.advance(60)
        recorder.refuse = None
        writer.success("after")
        logs.complete("d", "s")
        await clock.advance(SETTINGS.retry.cap + 1)
    assert recorder.completed
    assert recorder.lines() == ["before", *(f"line {number}" for number in range(100)), "after"]


async def test_a_script_that_writes_during_an_outage_causes_few_calls(
    recorder: Recorder, clock: VirtualClock
) -> None:
    recorder.refuse = grpc.StatusCode.UNAVAILABLE
    async with running_logs(recorder, clock) as logs:
        writer = logs.open("d", "s")
        for number in range(600):
            writer.info(f"line {number}")
            await clock.advance(0.2)
    assert 10 < recorder.calls < 120, "in two minutes"


async def test_next_process_appends_after_the_lines_of_the_earlier_one(
    recorder: Recorder, clock: VirtualClock
) -> None:
    async with running_logs(recorder, clock) as logs:
        writer = logs.open("d", "s")
        for number in range(1000):
            writer.info(f"first {number}")
        await clock.run(logs.store("d", "s"))
    await clock.advance(1)
    async with running_logs(recorder, clock) as logs:
        logs.open("d", "s").info("second")
        await clock.run(logs.store("d", "s"))
    assert recorder.lines()[-1] == "second"
    assert len(recorder.lines()) == 1001


async def test_flush_stores_pending_lines_without_completing_the_log(
    recorder: Recorder, clock: VirtualClock
) -> None:
    logs = StageLogs(memory_client(recorder, clock), Redactor(), clock, SETTINGS)
    logs.open("d", "s").info("last line")
    await logs.flush()
    assert recorder.lines() == ["last line"]
    assert not recorder.completed


async def test_secrets_are_redacted(recorder: Recorder, clock: VirtualClock) -> None:
    async with running_logs(recorder, clock, Redactor(["hunter2hunter2"])) as logs:
        logs.open("d", "s").error("password is hunter2hunter2")
        await clock.run(logs.store("d", "s"))
    assert recorder.lines() == ["password is ******"]


async def test_each_line_is_a_block_and_long_lines_are_split(recorder: Recorder, clock: VirtualClock) -> None:
    length = SETTINGS.max_block_length
    async with running_logs(recorder, clock) as logs:
        logs.open("d", "s").info("a\n\n" + "x" * (length + 1) + "\n")
        await clock.run(logs.store("d", "s"))
    assert recorder.lines() == ["a", " ", "x" * length, "x"]


async def test_oldest_lines_are_dropped_when_the_buffer_is_full_and_the_log_says_so(
    recorder: Recorder, clock: VirtualClock
) -> None:
    async with running_logs(recorder, clock, settings=SMALL_BUFFER) as logs:
        writer = logs.open("d", "s")
        for number in range(300):
            writer.info(f"line {number:05}")
        await clock.run(logs.store("d", "s"))
    lines = recorder.lines()
    assert len(lines) == 100
    reason = "they were written faster than they could be stored"
    assert lines[0] == f"[200 lines were dropped: {reason}] line 00200"
    assert lines[-1] == "line 00299"


async def test_rejected_log_does_not_block_other_logs(recorder: Recorder, clock: VirtualClock) -> None:
    recorder.refuse = grpc.StatusCode.FAILED_PRECONDITION
    async with running_logs(recorder, clock) as logs:
        logs.open("d", "s").info("late")
        await clock.run(logs.store("d", "s"))
        recorder.refuse = None
        logs.open("d", "other").info("fine")
        await clock.run(logs.store("d", "other"))
    assert recorder.lines() == ["fine"]


async def test_dropped_lines_are_counted_over_all_failed_attempts(
    recorder: Recorder, clock: VirtualClock
) -> None:
    logs = StageLogs(memory_client(recorder, clock), Redactor(), clock, SMALL_BUFFER)
    writer = logs.open("d", "s")
    recorder.refuse = grpc.StatusCode.RESOURCE_EXHAUSTED
    for number in range(300):
        writer.info(f"line {number:05}")
        if number % 100 == 50:
            await logs.flush()
    recorder.refuse = None
    await logs.flush()
    reason = "the control plane was unreachable for too long"
    assert recorder.lines()[0].startswith(f"[200 lines were dropped: {reason}]")


async def test_lines_dropped_while_they_were_being_stored_do_not_count(
    recorder: Recorder, clock: VirtualClock
) -> None:
    recorder.answering.clear()
    logs = StageLogs(memory_client(recorder, clock), Redactor(), clock, SMALL_BUFFER)
    writer = logs.open("d", "s")
    for number in range(100):
        writer.info(f"line {number:05}")
    storing = asyncio.create_task(logs.flush())
    await settle()
    assert recorder.calls == 1
    for number in range(100, 250):
        writer.info(f"line {number:05}")
    recorder.answering.set()
    await storing
    await logs.flush()
    lines = recorder.lines()
    assert lines[:100] == [f"line {number:05}" for number in range(100)]
    assert lines[100].startswith("[50 lines were dropped: ")
    assert len(lines) == 200


async def test_rejected_log_with_dropped_lines_is_completed_and_stops_nothing(
    recorder: Recorder, clock: VirtualClock
) -> None:
    recorder.refuse = grpc.StatusCode.FAILED_PRECONDITION
    async with running_logs(recorder, clock, settings=SMALL_BUFFER) as logs:
        for number in range(300):
            logs.open("d", "s").info(f"line {number:05}")
        await clock.advance(1)
        assert recorder.calls
        recorder.refuse = None
        logs.complete("d", "s")
        logs.open("d", "other").info("fine")
        await clock.run(logs.store("d", "other"))
        await clock.advance(1)
        assert recorder.completed
    assert recorder.lines() == ["fine"]


async def write_lines(writer: StageLogWriter, count: int) -> None:
    for number in range(count):
        writer.info(f"line {number:05}")
        await writer.drain()


async def test_a_program_waits_while_the_buffer_is_more_than_half_full(
    recorder: Recorder, clock: VirtualClock
) -> None:
    async with running_logs(recorder, clock, settings=SMALL_BUFFER) as logs:
        await clock.run(write_lines(logs.open("d", "s"), 1_000))
        await clock.run(logs.store("d", "s"))
    assert recorder.lines() == [f"line {number:05}" for number in range(1_000)]


async def test_a_program_does_not_wait_for_the_end_of_a_long_outage(
    recorder: Recorder, clock: VirtualClock
) -> None:
    recorder.refuse = grpc.StatusCode.UNAVAILABLE
    async with running_logs(recorder, clock, settings=SMALL_BUFFER) as logs:
        writer = logs.open("d", "s")
        started = clock.monotonic()
        await clock.run(write_lines(writer, 1_000))
        assert clock.monotonic() - started <= SMALL_BUFFER.space_timeout + 1
        recorder.refuse = None
        await clock.run(logs.store("d", "s"))
        assert recorder.lines()[0].startswith("[900 lines were dropped: the control plane was unreachable")
        # It waits again in the next outage.
        recorder.refuse = grpc.StatusCode.UNAVAILABLE
        started = clock.monotonic()
        await clock.run(write_lines(writer, 60))
        assert clock.monotonic() - started > SMALL_BUFFER.space_timeout - 1


async def test_a_call_is_smaller_than_the_limit_of_a_message(recorder: Recorder, clock: VirtualClock) -> None:
    """Whatever the characters are, and however short the lines."""
    logs = StageLogs(memory_client(recorder, clock), Redactor(), clock, SETTINGS)
    writer = logs.open("d", "s")
    for text in ("\U0001f680" * 9_999, "x"):
        for _ in range(20_000 // len(text) + 40):
            writer.info(text)
    await logs.flush()
    assert len(recorder.lines()) > 20_000
    assert 0 < recorder.largest < 1_100_000
