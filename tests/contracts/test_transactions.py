"""Contract of transactions, for SQLite and PostgreSQL, when callers write at the same time."""

import asyncio
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest
import sqlalchemy as sa

from pipecd.controlplane.store import Store
from pipecd.controlplane.store.statements import Connection
from pipecd.controlplane.store.tables import leases
from pipecd.errors import AlreadyExists, ConfigError, Conflict, NotFound, Temporary
from pipecd.schema.model.piped_pb2 import Piped
from tests.actors import TESTER


def piped(id: str, desc: str = "") -> Piped:
    return Piped(id=id, project_id="shop", name=id, desc=desc)


def describe(text: str) -> Callable[[Piped], None]:
    return lambda record: setattr(record, "desc", text)


async def test_an_error_undoes_only_the_write_of_its_caller(store: Store) -> None:
    """SQLite commits writes that wait at the same time together."""
    await store.create(piped("existing"), by=TESTER)

    def refuse(record: Piped) -> None:
        record.desc = "refused"
        raise Conflict("no")

    writes = [
        write
        for number in range(10)
        for write in (
            store.create(piped(f"p{number}"), by=TESTER),
            store.create(piped(f"q{number}"), piped("existing"), by=TESTER),
            store.update(Piped, "existing", refuse, by=TESTER),
            store.update(Piped, "missing", refuse, by=TESTER),
        )
    ]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), AlreadyExists, Conflict, NotFound] * 10
    for number in range(10):
        assert (await store.get(Piped, f"p{number}")).version == 1
        with pytest.raises(NotFound):
            await store.get(Piped, f"q{number}")
    assert (await store.get(Piped, "existing")).message.desc == ""


async def test_a_caller_reads_what_it_has_written(store: Store) -> None:
    async def write_and_read(number: int) -> None:
        await store.create(piped(f"p{number}"), by=TESTER)
        for turn in range(20):
            await store.update(Piped, f"p{number}", describe(str(turn)), by=TESTER)
            record = await store.get(Piped, f"p{number}")
            assert (record.message.desc, record.version) == (str(turn), turn + 2)

    await asyncio.gather(*(write_and_read(number) for number in range(8)))


async def test_a_write_whose_caller_was_cancelled_before_is_not_begun(store: Store) -> None:
    if not store.database.sqlite:
        pytest.skip("PostgreSQL executes transactions at the same time")
    begun, may_end = threading.Event(), threading.Event()

    def block(_: Connection) -> None:
        begun.set()
        assert may_end.wait(60)

    blocking = asyncio.create_task(store.database.write(block))
    await asyncio.to_thread(begun.wait, 60)
    waiting = asyncio.create_task(store.create(piped("cancelled"), by=TESTER))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    may_end.set()
    await blocking
    await store.create(piped("next"), by=TESTER)
    with pytest.raises(NotFound):
        await store.get(Piped, "cancelled")


async def test_a_write_that_has_begun_is_completed_without_its_caller(store: Store) -> None:
    """In PostgreSQL, to cancel a statement would close its connection."""
    loop, begun, ended, may_end = (
        asyncio.get_running_loop(),
        asyncio.Event(),
        asyncio.Event(),
        threading.Event(),
    )

    def write(connection: Connection) -> None:
        loop.call_soon_threadsafe(begun.set)
        if store.database.sqlite:
            assert may_end.wait(60)
        else:
            connection.execute(sa.text("SELECT pg_sleep(0.1)"))
        connection.execute(sa.insert(leases).values(name="written", holder="x", expires_at=9e9))

    caller = asyncio.create_task(store.database.write(write, ended.set))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not ended.is_set()
    may_end.set()
    async with asyncio.timeout(60):
        await ended.wait()
    assert await store.leases.holder("written") == "x"


async def test_the_callback_of_a_write_is_called_before_its_caller_continues(store: Store) -> None:
    order: list[str] = []
    for error in (None, Conflict("no")):

        def write(_: Connection, error: Exception | None = error) -> None:
            if error:
                raise error

        async def call(write: Callable[[Connection], None] = write) -> None:
            with suppress(Conflict):
                await store.database.write(write, lambda: order.append("after"))
            order.append("caller")

        await call()
    assert order == ["after", "caller"] * 2


async def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if asyncpg, an extra, were not installed."""
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    monkeypatch.delitem(sys.modules, "pipecd.controlplane.store.postgresql", raising=False)
    with pytest.raises(ConfigError, match="asyncpg") as caught:
        await Store.open("postgresql+asyncpg://postgres@/postgres")
    assert "pipecd[postgres]" in caught.value.remedy


async def test_closing_completes_the_writes_that_have_begun(url: str) -> None:
    store = await Store.open(url)
    writes = [asyncio.create_task(store.create(piped(f"p{n}"), by=TESTER)) for n in range(20)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*writes)
    with pytest.raises(Temporary):
        await store.create(piped("late"), by=TESTER)
    with pytest.raises(Temporary):
        await store.get(Piped, "p0")
    again = await Store.open(url)
    for number in range(20):
        assert (await again.get(Piped, f"p{number}")).version == 1
    await again.close()
