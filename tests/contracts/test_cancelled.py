"""Callers that hang up in the middle of a transaction, once or again and again: nobody else may feel it."""

import asyncio
import random

import pytest

from pipecd.controlplane.store import Store
from pipecd.schema.model.piped_pb2 import Piped

ROUNDS = 60


async def _hang_up(task: asyncio.Task[None], how: random.Random) -> None:
    for _ in range(how.choice([0, 1, 1, 2, 3])):
        for _ in range(how.randrange(8)):
            await asyncio.sleep(0)
        await asyncio.sleep(how.random() * 0.003)
        task.cancel()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whoever_hangs_up_leaves_nothing_behind(url: str, seed: int) -> None:
    before = asyncio.all_tasks()
    how = random.Random(seed)
    store = await Store.open(url)
    await store.create(Piped(id="shared", project_id="shop", name="shared"))
    finished = 0

    async def work(id: str) -> None:
        nonlocal finished
        await store.create(Piped(id=id, project_id="shop", name=id))
        await store.get(Piped, id)
        await store.update(Piped, "shared", lambda piped: setattr(piped, "desc", id))
        finished += 1

    for turn in range(ROUNDS):
        callers = [asyncio.create_task(work(f"{turn}-{number}")) for number in range(6)]
        await asyncio.gather(*(_hang_up(caller, how) for caller in callers))
        async with asyncio.timeout(60):
            results = await asyncio.gather(*callers, return_exceptions=True)
        assert {type(one) for one in results} <= {type(None), asyncio.CancelledError}, results
    assert 0 < finished < ROUNDS * 6, "some must have been cut off and some not, or nothing was tried"
    # As many at once as no pool has connections: had one been lost, somebody would wait for it in vain.
    async with asyncio.timeout(60):
        await asyncio.gather(*(work(f"after-{number}") for number in range(12)))
        await store.healthy()
        await store.close()
    # Closing what PostgreSQL was asked in vain is waited for elsewhere; it must end by itself.
    async with asyncio.timeout(60):
        while left := asyncio.all_tasks() - before:
            await asyncio.wait(left)


async def test_a_write_that_stands_is_known_although_its_caller_has_gone(store: Store) -> None:
    how = random.Random(4)
    await store.create(Piped(id="p", project_id="shop", name="p"))
    for turn in range(100):
        written, version = store.writes[Piped], (await store.get(Piped, "p")).version
        caller = asyncio.create_task(
            store.update(Piped, "p", lambda piped, turn=turn: setattr(piped, "desc", str(turn)))  # type: ignore[misc]
        )
        await asyncio.sleep(how.random() * 0.004)
        caller.cancel()
        await asyncio.wait([caller])
        if (await store.get(Piped, "p")).version != version:
            assert store.writes[Piped] > written, "what is remembered of it would be stale"


async def test_a_timeout_within_is_still_one(store: Store) -> None:
    """A deadline of the caller's own is told as such, not as a cancellation."""
    await store.create(Piped(id="p", project_id="shop", name="p"))
    for _ in range(50):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.002):
                while True:
                    await store.get(Piped, "p")
        await store.get(Piped, "p")
    task = asyncio.current_task()
    assert task
    assert not task.cancelling()
