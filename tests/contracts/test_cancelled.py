"""Callers that are cancelled during a transaction, once or repeatedly, must not affect other callers."""

import asyncio
import random

import pytest

from pipecd.controlplane.store import Store
from pipecd.schema.model.piped_pb2 import Piped
from tests.actors import TESTER

ROUNDS = 60


async def _cancel_at_random(task: asyncio.Task[None], rng: random.Random) -> None:
    for _ in range(rng.choice([0, 1, 1, 2, 3])):
        for _ in range(rng.randrange(8)):
            await asyncio.sleep(0)
        await asyncio.sleep(rng.random() * 0.003)
        task.cancel()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_cancelled_callers_leave_no_connection_or_transaction_behind(url: str, seed: int) -> None:
    before = asyncio.all_tasks()
    rng = random.Random(seed)
    store = await Store.open(url)
    await store.create(Piped(id="shared", project_id="shop", name="shared"), by=TESTER)
    finished = 0

    async def work(id: str) -> None:
        nonlocal finished
        await store.create(Piped(id=id, project_id="shop", name=id), by=TESTER)
        await store.get(Piped, id)
        await store.update(Piped, "shared", lambda piped: setattr(piped, "desc", id), by=TESTER)
        finished += 1

    for turn in range(ROUNDS):
        callers = [asyncio.create_task(work(f"{turn}-{number}")) for number in range(6)]
        await asyncio.gather(*(_cancel_at_random(caller, rng) for caller in callers))
        async with asyncio.timeout(60):
            results = await asyncio.gather(*callers, return_exceptions=True)
        assert {type(result) for result in results} <= {type(None), asyncio.CancelledError}, results
    assert 0 < finished < ROUNDS * 6, (
        "some callers must have been cancelled and some not, or nothing was tested"
    )
    # More callers than any pool has connections: if one were lost, a caller would wait without end.
    async with asyncio.timeout(60):
        await asyncio.gather(*(work(f"after-{number}") for number in range(12)))
        await store.check_health()
        await store.close()
    # Connections with cancelled PostgreSQL queries are closed in other tasks, which must end by themselves.
    async with asyncio.timeout(60):
        while remaining := asyncio.all_tasks() - before:
            await asyncio.wait(remaining)


async def test_a_committed_write_is_counted_even_if_its_caller_is_cancelled(store: Store) -> None:
    rng = random.Random(4)
    await store.create(Piped(id="p", project_id="shop", name="p"), by=TESTER)
    for turn in range(100):
        written, version = store.write_counts[Piped], (await store.get(Piped, "p")).version
        caller = asyncio.create_task(
            store.update(Piped, "p", lambda piped, turn=turn: setattr(piped, "desc", str(turn)), by=TESTER)  # type: ignore[misc]
        )
        await asyncio.sleep(rng.random() * 0.004)
        caller.cancel()
        await asyncio.wait([caller])
        if (await store.get(Piped, "p")).version != version:
            assert store.write_counts[Piped] > written, "cached records would be stale"


async def test_a_timeout_of_the_caller_stays_a_timeout(store: Store) -> None:
    """The caller's own deadline raises TimeoutError, not CancelledError."""
    await store.create(Piped(id="p", project_id="shop", name="p"), by=TESTER)
    for _ in range(50):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.002):
                while True:
                    await store.get(Piped, "p")
        await store.get(Piped, "p")
    task = asyncio.current_task()
    assert task
    assert not task.cancelling()
