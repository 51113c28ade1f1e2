"""Contract of transactions, for SQLite and PostgreSQL, when callers write at the same time."""

import asyncio
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa

from pipecd.controlplane.store import Store, postgresql
from pipecd.controlplane.store.statements import Connection, ConstraintViolated, Write
from pipecd.controlplane.store.tables import changes, leases
from pipecd.controlplane.store.turns import yielding
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


async def test_transactions_of_agents_leave_room_for_others(store: Store) -> None:
    """More of them than there are threads or connections, and none of them ends."""
    await store.create(piped("existing"), by=TESTER)
    may_end, blocker = threading.Event(), None
    if not store.database.sqlite:
        blocker = await asyncpg.connect(**postgresql._connection_arguments(store.database.url))
        await blocker.execute("SELECT pg_advisory_lock(7)")

    def block(connection: Connection) -> bool:
        if connection.sqlite:
            return may_end.wait(60)
        return bool(connection.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(7))).all())

    with yielding():
        of_agents = [asyncio.create_task(store.database.read(block)) for _ in range(16)]
    try:
        assert (await store.get(Piped, "existing")).version == 1
        await store.update(Piped, "existing", describe("by a person"), by=TESTER)
        assert not any(task.done() for task in of_agents)
    finally:
        may_end.set()
        if blocker is not None:
            await blocker.close()
    assert all(await asyncio.gather(*of_agents)), "those that waited have been executed, too"


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


def _addition(number: int) -> Write:
    return Write(sa.insert(changes).inline(), {**_CHANGE, "id": f"c{number}"})


_CHANGE = {"project_id": "shop", "piped_id": "", "kind": "piped", "id": "", "detail": "", "at": 0}
_LEASE = {"holder": "new", "expires_at": 2.0}
_UPDATE = sa.update(leases).where(leases.c.name == sa.bindparam("of_name"))


async def added(store: Store) -> list[str]:
    return [row.id for row in await store.database.rows(sa.select(changes.c.id).order_by(changes.c.seq))]


@pytest.mark.parametrize("count", [0, 1, 3, 12])
async def test_the_last_writes_depend_on_the_first(store: Store, count: int) -> None:
    """Also if they are too many for one statement of PostgreSQL."""
    rows = [_addition(number) for number in range(count)]

    def finish(name: str, *before: Write) -> Callable[[Connection], bool]:
        def write(connection: Connection) -> bool:
            for statement in before:
                connection.execute(statement.statement, statement.values)
            return connection.finish(Write(_UPDATE, {"of_name": name, **_LEASE}), rows)

        return write

    assert await store.leases.acquire("job", "old", 1)
    assert not await store.database.write(finish("missing"))
    assert await added(store) == []
    assert await store.database.write(finish("job", _addition(99)))
    assert sorted(await added(store)) == sorted(["c99", *(f"c{number}" for number in range(count))])
    (row,) = await store.database.rows(sa.select(leases.c.holder, leases.c.expires_at))
    assert tuple(row) == ("new", 2.0)


@pytest.mark.parametrize("count", [1, 12])
async def test_a_violated_constraint_undoes_all_last_writes(store: Store, count: int) -> None:
    await store.create(piped("existing"), by=TESTER)
    before = await added(store)
    row = Write(sa.insert(leases), {"name": "job", "stream": "", **_LEASE})

    def write(connection: Connection) -> None:
        connection.finish(row, [*(_addition(number) for number in range(count)), row])

    with pytest.raises(ConstraintViolated):
        await store.database.write(write)
    assert await added(store) == before
    assert not await store.database.rows(sa.select(leases.c.name))


async def test_a_write_of_a_record_is_one_statement_after_the_read(store: Store) -> None:
    """Each statement of PostgreSQL costs a round trip, and as much as the rest of a call."""
    if store.database.sqlite:
        pytest.skip("SQLite has no round trips")
    await store.create(piped("p"), by=TESTER)
    statements: list[str] = []
    run = asyncpg.Connection._execute

    async def record(self: Any, query: str, *args: Any, **options: Any) -> Any:
        statements.append(query)
        return await run(self, query, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncpg.Connection, "_execute", record)
        patch.setattr(asyncpg.Connection, "execute", record)
        await store.update(Piped, "p", describe("new"), by=TESTER)
    assert [statement.split()[0] for statement in statements] == ["SELECT", "WITH"]
