"""Stage logs: at once, complete, in order, clean, and not lost in an outage."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from pipecd.piped.deploy import stage_logs as module
from pipecd.piped.deploy.stage_logs import Logs
from pipecd.secrets import Redactor
from tests.piped.recorder import Recorder


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Storing is not given up before the server has answered, however busy the machine."""
    monkeypatch.setattr(module, "PATIENCE", 240.0)


@asynccontextmanager
async def shipping(recorder: Recorder, redactor: Redactor | None = None) -> AsyncIterator[Logs]:
    client = recorder.client()
    logs = Logs(client, redactor or Redactor())
    ship = asyncio.create_task(logs.ship())
    try:
        yield logs
    finally:
        ship.cancel()
        await client.close()


async def test_a_line_is_sent_without_waiting_for_more(recorder: Recorder) -> None:
    assert module.GATHER < 0.5, "lines show within a second"
    async with shipping(recorder) as logs:
        logs.open("d", "s").info("hello")
        await recorder.until(lambda r: [b.log for b in r.seen.values()] == ["hello"])


async def test_storing_waits_until_the_lines_are_safe(recorder: Recorder) -> None:
    async with shipping(recorder) as logs:
        logs.open("d", "s").info("one")
        await logs.store("d", "s")
        assert recorder.lines() == ["one"]
        assert not recorder.completed


async def test_storing_waits_also_while_older_lines_are_on_their_way(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 0.0)
    recorder.answering.clear()
    async with shipping(recorder) as logs:
        writer = logs.open("d", "s")
        writer.info("one")
        await recorder.until(lambda r: r.calls == 1)
        writer.info("two")
        storing = asyncio.create_task(logs.store("d", "s"))
        asyncio.get_running_loop().call_soon(recorder.answering.set)
        await storing
        assert recorder.lines() == ["one", "two"]


async def test_the_end_of_a_stage_marks_its_log_complete_even_when_it_is_empty(recorder: Recorder) -> None:
    async with shipping(recorder) as logs:
        logs.open("d", "s")
        logs.complete("d", "s")
        await recorder.until(lambda r: r.completed)


async def test_nothing_is_lost_while_the_control_plane_is_away(recorder: Recorder) -> None:
    async with shipping(recorder) as logs:
        writer = logs.open("d", "s")
        writer.info("before")
        await recorder.until(lambda r: len(r.seen) == 1)
        await recorder.go()
        for number in range(500):
            writer.info(f"line {number}")
        await recorder.come()
        writer.success("after")
        logs.complete("d", "s")
        await recorder.until(lambda r: r.completed)
    assert recorder.lines() == ["before", *(f"line {number}" for number in range(500)), "after"]


async def test_a_later_process_goes_on_after_the_earlier_ones_lines(recorder: Recorder) -> None:
    async with shipping(recorder) as logs:
        writer = logs.open("d", "s")
        for number in range(1000):
            writer.info(f"first {number}")
        await logs.store("d", "s")
    async with shipping(recorder) as logs:
        logs.open("d", "s").info("second")
        await logs.store("d", "s")
    assert recorder.lines()[-1] == "second"
    assert len(recorder.lines()) == 1001


async def test_flush_stores_what_is_left_without_ending_the_log(recorder: Recorder) -> None:
    client = recorder.client()
    logs = Logs(client, Redactor())
    logs.open("d", "s").info("last words")
    await logs.flush()
    assert recorder.lines() == ["last words"]
    assert not recorder.completed
    await client.close()


async def test_secrets_do_not_leave(recorder: Recorder) -> None:
    async with shipping(recorder, Redactor(["hunter2hunter2"])) as logs:
        logs.open("d", "s").error("password is hunter2hunter2")
        await logs.store("d", "s")
    assert recorder.lines() == ["password is ******"]


async def test_lines_are_blocks_and_long_lines_are_cut(recorder: Recorder) -> None:
    async with shipping(recorder) as logs:
        logs.open("d", "s").info("a\n\n" + "x" * (module.MAX_BLOCK + 1) + "\n")
        await logs.store("d", "s")
    assert recorder.lines() == ["a", " ", "x" * module.MAX_BLOCK, "x"]


async def test_what_does_not_fit_is_left_out_oldest_first_and_the_log_says_so(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_KEPT", 1_000)
    async with shipping(recorder) as logs:
        writer = logs.open("d", "s")
        for number in range(300):
            writer.info(f"line {number:05}")
        await logs.store("d", "s")
    lines = recorder.lines()
    assert len(lines) == 100
    assert lines[0] == "[200 lines are left out here: the control plane was away too long] line 00200"
    assert lines[-1] == "line 00299"


async def test_a_closed_log_takes_nothing_more_and_stops_nothing(recorder: Recorder) -> None:
    recorder.refuse = grpc.StatusCode.FAILED_PRECONDITION
    async with shipping(recorder) as logs:
        logs.open("d", "s").info("late")
        async with asyncio.timeout(120):
            await logs.store("d", "s")
        recorder.refuse = None
        logs.open("d", "other").info("fine")
        await logs.store("d", "other")
    assert recorder.lines() == ["fine"]
