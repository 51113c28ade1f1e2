"""A blocked event loop is logged, counted and remarked in `/healthz`."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import structlog
from structlog.typing import EventDict

from pipecd.telemetry import answer_admin_request
from pipecd.watchdog import BLOCKED_SECONDS, Watchdog, WatchdogSettings
from tests.eventually import eventually

#: So that a test takes a fraction of a second.
QUICK = WatchdogSettings(threshold=0.1, interval=0.01)


#: For tests that expect nothing: a busy machine may block the loop for a moment.
PATIENT = WatchdogSettings(threshold=1.0, interval=0.01)


@pytest.fixture
async def patient_watchdog() -> AsyncIterator[Watchdog]:
    async with watching(PATIENT) as watchdog:
        yield watchdog


@pytest.fixture
async def watchdog() -> AsyncIterator[Watchdog]:
    async with watching(QUICK) as watchdog:
        yield watchdog


@asynccontextmanager
async def watching(settings: WatchdogSettings) -> AsyncIterator[Watchdog]:
    watchdog = Watchdog(settings)
    async with watchdog.watching():
        await asyncio.sleep(0)
        yield watchdog


def block_the_loop(seconds: float = 0.4) -> None:
    """As a computation does; a thread can run meanwhile."""
    time.sleep(seconds)


def blocks(logs: Sequence[EventDict]) -> Sequence[tuple[EventDict, EventDict]]:
    """The two events of each block by `block_the_loop`. A busy machine may cause others."""
    events = [line for line in logs if line["event"].startswith("event_loop_")]
    return [pair for pair in itertools.pairwise(events) if "block_the_loop" in str(pair[0].get("frames"))]


async def healthy() -> str:
    return ""


async def test_a_blocked_loop_is_logged_with_its_place_and_counted(watchdog: Watchdog) -> None:
    before = BLOCKED_SECONDS._value.get()
    with structlog.testing.capture_logs() as logs:

        async def logged() -> bool:
            # Repeated if the watchdog's thread did not run meanwhile, and took the machine for overloaded.
            block_the_loop()
            await asyncio.sleep(5 * QUICK.interval)
            return bool(watchdog.remark()) and bool(blocks(logs))

        assert await eventually(logged)
    blocked, unblocked = blocks(logs)[0]
    assert blocked["event"] == "event_loop_blocked"
    assert unblocked["event"] == "event_loop_unblocked" and unblocked["seconds"] >= 0.3
    assert BLOCKED_SECONDS._value.get() - before >= 0.3
    status, _, body = await answer_admin_request("/healthz", healthy, remark=watchdog.remark)
    assert status == 200 and body.startswith(b"ok; the event loop was blocked for 0.")


async def test_a_loop_that_runs_is_not_remarked(patient_watchdog: Watchdog) -> None:
    with structlog.testing.capture_logs() as logs:
        await asyncio.to_thread(block_the_loop, 1.3)
    assert not logs and not patient_watchdog.remark()
    assert await answer_admin_request("/healthz", healthy, remark=patient_watchdog.remark) == (
        200,
        "text/plain",
        b"ok",
    )


async def test_a_suspended_process_was_not_blocked(
    patient_watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread did not run either."""
    now = time.monotonic
    with structlog.testing.capture_logs() as logs:
        monkeypatch.setattr(time, "monotonic", lambda: now() + 3600)
        await asyncio.sleep(0.2)
    assert not logs and not patient_watchdog.remark()
