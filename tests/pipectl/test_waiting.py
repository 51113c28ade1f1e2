"""Polling: returns the first result, survives an outage, and respects the timeout."""

import asyncio
from collections.abc import Iterator

import pytest

from pipecd.errors import Conflict, Temporary
from pipecd.pipectl.waiting import poll_until
from tests.virtual_clock import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


async def test_polling_ends_with_the_first_result_and_survives_an_outage(clock: VirtualClock) -> None:
    results: Iterator[object] = iter([None, Temporary("restarting"), None, "there"])

    async def check() -> object:
        result = next(results)
        if isinstance(result, Temporary):
            raise result
        return result

    polling = poll_until(check, clock, interval=10, timeout=60, what="no result")
    assert await clock.run(polling) == "there"
    assert next(results, "exhausted") == "exhausted"
    assert clock.monotonic() == 30


async def test_a_permanent_error_ends_polling_immediately(clock: VirtualClock) -> None:
    async def check() -> None:
        raise Conflict("ended with another status")

    with pytest.raises(Conflict):
        await clock.run(poll_until(check, clock, interval=60, timeout=60, what="no result"))
    assert clock.monotonic() == 0


async def test_the_timeout_message_includes_the_last_error(clock: VirtualClock) -> None:
    async def check() -> None:
        raise Temporary("no route")

    with pytest.raises(Temporary, match=r"no result within 30 s \(no route\)"):
        await clock.run(poll_until(check, clock, interval=7, timeout=30, what="no result"))
    assert clock.monotonic() == 30


async def test_the_timeout_message_omits_an_error_that_is_over(clock: VirtualClock) -> None:
    checks = 0

    async def check() -> None:
        nonlocal checks
        checks += 1
        if checks == 1:
            raise Temporary("restarting")

    with pytest.raises(Temporary) as raised:
        await clock.run(poll_until(check, clock, interval=10, timeout=30, what="no result"))
    assert str(raised.value) == "no result within 30 s"
    assert checks == 4


async def test_a_check_that_hangs_is_cancelled_at_the_timeout(clock: VirtualClock) -> None:
    async def check() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Temporary, match="does not respond"):
        await clock.run(poll_until(check, clock, interval=1, timeout=30, what="no result"))
    assert clock.monotonic() == 30
