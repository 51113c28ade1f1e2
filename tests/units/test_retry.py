"""Back-off: delays grow up to their cap, never end if they are unlimited, and begin again after a success."""

import itertools
import random

import pytest

from pipecd.errors import Conflict, Temporary
from pipecd.retry import Backoff, Retry, call
from tests.virtual_clock import VirtualClock


class Longest(random.Random):
    """Always draws the longest delay."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_delays_double_up_to_the_cap() -> None:
    delays = Retry(base=1.0, cap=10.0, tries=7).delays(Longest())
    assert list(delays) == [1, 2, 4, 8, 10, 10]


def test_unlimited_delays_never_end_or_overflow() -> None:
    delays = Retry(base=0.5, cap=10.0, tries=None).delays()
    assert max(itertools.islice(delays, 5_000)) <= 10.0


def test_a_limited_policy_may_have_many_tries() -> None:
    assert sum(1 for _ in Retry(base=0.5, cap=10.0, tries=5_000).delays()) == 4_999


def test_a_base_above_the_cap_is_limited() -> None:
    assert next(Retry(base=60.0, cap=10.0).delays(Longest())) == 10


def test_backoff_begins_again_after_a_success() -> None:
    backoff = Backoff(Retry(base=1.0, cap=10.0, tries=2), Longest())
    assert [backoff.next_delay() for _ in range(5)] == [1, 2, 4, 8, 10]
    backoff.reset()
    assert backoff.next_delay() == 1


@pytest.mark.parametrize(
    ("failures", "requested", "least", "most"), [(2, None, 0, 3), (2, 30.0, 60, 60), (0, None, 0, 0)]
)
async def test_a_call_is_repeated_after_its_delays(
    failures: int, requested: float | None, least: float, most: float
) -> None:
    clock, errors = VirtualClock(), [Temporary("away", after=requested)] * failures

    async def attempt() -> str:
        if errors:
            raise errors.pop()
        return "done"

    assert await clock.run(call(attempt, Retry(base=1.0, cap=10.0), sleep=clock.sleep)) == "done"
    assert least <= clock.monotonic() <= most


async def test_the_last_error_is_raised_and_others_are_not_repeated() -> None:
    clock, attempts = VirtualClock(), 0

    async def fail(error: Exception) -> None:
        nonlocal attempts
        attempts += 1
        raise error

    with pytest.raises(Temporary):
        await clock.run(call(lambda: fail(Temporary("away")), Retry(tries=3), sleep=clock.sleep))
    assert attempts == 3
    with pytest.raises(Conflict):
        await clock.run(call(lambda: fail(Conflict("no")), Retry(tries=3), sleep=clock.sleep))
    assert attempts == 4
