"""Waiting: for an answer, through an outage, and never longer than was said."""

import asyncio
from collections.abc import Iterator

import pytest

from pipecd.errors import Conflict, Temporary
from pipecd.pipectl.waiting import wait_for


async def test_the_first_answer_ends_it_and_an_outage_does_not() -> None:
    answers: Iterator[object] = iter([None, Temporary("it restarts"), None, "there"])

    async def look() -> object:
        answer = next(answers)
        if isinstance(answer, Temporary):
            raise answer
        return answer

    assert await wait_for(look, interval=0.01, timeout=60, what="it did not come") == "there"
    assert next(answers, "all asked") == "all asked"


async def test_what_will_not_pass_ends_it_at_once() -> None:
    async def look() -> None:
        raise Conflict("it ended otherwise")

    with pytest.raises(Conflict):
        await wait_for(look, interval=60, timeout=60, what="it did not come")


async def test_the_last_trouble_is_told() -> None:
    async def look() -> None:
        raise Temporary("no route")

    with pytest.raises(Temporary, match=r"it did not come within 0\.05 s \(no route\)"):
        await wait_for(look, interval=0.01, timeout=0.05, what="it did not come")


async def test_a_trouble_that_is_over_is_not_told() -> None:
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise Temporary("it restarts")

    # On a busy machine the time may be over before the second look, the first after the trouble.
    for timeout in (0.1, 1.0, 10.0):
        looks = 0
        with pytest.raises(Temporary) as raised:
            await wait_for(look, interval=0.01, timeout=timeout, what="it did not come")
        if looks > 1:
            break
    assert str(raised.value) == f"it did not come within {timeout:g} s"


async def test_an_answer_that_never_comes_is_given_up_in_time() -> None:
    async def look() -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(60):
        with pytest.raises(Temporary, match="does not answer"):
            await wait_for(look, interval=0.01, timeout=0.2, what="it did not come")
