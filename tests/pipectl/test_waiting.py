"""Polling: returns the first result, survives an outage, and respects the timeout."""

import asyncio
from collections.abc import Iterator

import pytest

from pipecd.errors import Conflict, Temporary
from pipecd.pipectl.waiting import poll_until


async def test_polling_ends_with_the_first_result_and_survives_an_outage() -> None:
    results: Iterator[object] = iter([None, Temporary("restarting"), None, "there"])

    async def check() -> object:
        result = next(results)
        if isinstance(result, Temporary):
            raise result
        return result

    assert await poll_until(check, interval=0.01, timeout=60, what="no result") == "there"
    assert next(results, "exhausted") == "exhausted"


async def test_a_permanent_error_ends_polling_immediately() -> None:
    async def check() -> None:
        raise Conflict("ended with another status")

    with pytest.raises(Conflict):
        await poll_until(check, interval=60, timeout=60, what="no result")


async def test_the_timeout_message_includes_the_last_error() -> None:
    async def check() -> None:
        raise Temporary("no route")

    with pytest.raises(Temporary, match=r"no result within 0\.05 s \(no route\)"):
        await poll_until(check, interval=0.01, timeout=0.05, what="no result")


async def test_the_timeout_message_omits_an_error_that_is_over() -> None:
    checks = 0

    async def check() -> None:
        nonlocal checks
        checks += 1
        if checks == 1:
            raise Temporary("restarting")

    # On a busy machine the timeout may expire before the second check, the first one after the error.
    for timeout in (0.1, 1.0, 10.0):
        checks = 0
        with pytest.raises(Temporary) as raised:
            await poll_until(check, interval=0.01, timeout=timeout, what="no result")
        if checks > 1:
            break
    assert str(raised.value) == f"no result within {timeout:g} s"


async def test_a_check_that_hangs_is_cancelled_at_the_timeout() -> None:
    async def check() -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(60):
        with pytest.raises(Temporary, match="does not respond"):
            await poll_until(check, interval=0.01, timeout=0.2, what="no result")
