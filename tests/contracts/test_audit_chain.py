"""The hash chain of the audit log: it finds every change of its rows, and survives retention."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from pipecd.controlplane.store import Store, audit_chain, tables
from pipecd.controlplane.store.audit import Subject
from pipecd.controlplane.store.audit_chain import Verification, seal, verify
from pipecd.controlplane.store.audit_log import MAX_SCANNED, AuditFilter, AuditPage, page
from pipecd.controlplane.store.engine import Database
from pipecd.controlplane.store.statements import Connection
from pipecd.errors import Conflict, Refused
from pipecd.model.access import Labels
from pipecd.model.actor import Actor, ActorKind
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.piped_pb2 import Piped

ANN = Actor(
    kind=ActorKind.PERSON,
    id="ann",
    name="ann",
    project_id="shop",
    action="/WebService/AddApplication",
    address="192.0.2.7",
)
JOB = Actor(kind=ActorKind.JOB, id="delete-old-audit-rows", name="job", action="delete-old-audit-rows")
TRIGGERS = {
    "sqlite": ("DROP TRIGGER audit_is_append_only", "DROP TRIGGER audit_links_are_append_only"),
    "postgresql": (
        "ALTER TABLE audit DISABLE TRIGGER USER",
        "ALTER TABLE audit_links DISABLE TRIGGER USER",
    ),
}


async def execute(store: Store, *statements: sa.Executable) -> None:

    def run(connection: Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    await store.database.write(run)


async def disable_trigger(store: Store) -> None:
    """What someone with access to the database can do."""
    await execute(store, *map(sa.text, TRIGGERS["sqlite" if store.database.sqlite else "postgresql"]))


async def rows(store: Store, project_id: str = "shop") -> Sequence[Any]:
    """The rows of the project with their places in the chain, in which all of them are."""
    await seal(store.database)
    table, links = tables.audit, tables.audit_links
    query = (
        sa.select(table, links.c.position, links.c.hash)
        .outerjoin_from(table, links, links.c.seq == table.c.seq)
        .where(table.c.project_id == project_id)
        .order_by(links.c.position)
    )
    return await store.database.rows(query)


def at(project_id: str, position: int) -> sa.ColumnElement[bool]:
    """The row of the log with this place in the chain of the project."""
    links = tables.audit_links.c
    seqs = sa.select(links.seq).where(links.project_id == project_id, links.position == position)
    return tables.audit.c.seq.in_(seqs)


async def add(store: Store, count: int, project_id: str = "shop", by: Actor = ANN) -> None:
    for number in range(count):
        record = Subject(kind="session", id=f"s{number}", project_id=project_id)
        await store.record_action("create", record, {"number": number}, by=by)


async def verify_all(store: Store, project_id: str = "shop") -> Verification:
    await seal(store.database)
    result = await verify(store.database, project_id, max_rows=2)
    while not result.completed:
        result = await verify(store.database, project_id, result.verified, max_rows=2)
    return result


async def test_concurrent_writers_add_to_one_chain_without_gaps(store: Store) -> None:
    """Also in transactions of several records, some of which are undone, and in two projects."""
    other = Store(store.database, store._clock, store.settings)
    await store.create(Piped(id="p", project_id="shop", name="p"), by=ANN)

    def change(record: Piped) -> None:
        record.desc += "x"

    async def write(number: int) -> None:
        project = ("shop", "other")[number % 2]
        applications = [
            Application(id=f"{number}-{part}", name="a", project_id=project, piped_id="p")
            for part in ("1", "1" if number % 5 == 0 else "2")
        ]
        try:
            await (store, other)[number % 3 % 2].create(*applications, by=ANN)
        except Exception:  # noqa: BLE001 the same ID twice
            assert number % 5 == 0
        if number % 4 == 0:
            new = [Application(id=f"{number}-3", name="a", project_id="shop", piped_id="p")]
            await store.update(Piped, "p", change, by=ANN, creating=new)

    async def seal_meanwhile() -> None:
        for _ in range(10):
            await asyncio.gather(seal(store.database), seal(store.database))

    await asyncio.gather(seal_meanwhile(), *(write(number) for number in range(40)))
    for project, expected in (("shop", 1 + 16 * 2 + 10 * 2), ("other", 16 * 2)):
        stored = await rows(store, project)
        assert [row.position for row in stored] == list(range(1, expected + 1))
        result = await verify_all(store, project)
        assert (result.broken, result.verified) == (None, result.head)
        assert result.head.position == expected
        assert len({row.hash for row in stored}) == expected


async def test_a_changed_row_is_named(store: Store) -> None:
    """In each project another column."""
    columns = ("actor_name", "address", "after", "action", "hash")
    for column in columns:
        await add(store, 6, project_id=column)
    await seal(store.database)
    await disable_trigger(store)
    links = tables.audit_links
    for column in columns[:-1]:
        await execute(store, sa.update(tables.audit).where(at(column, 4)).values({column: "{}"}))
    changed = sa.update(links).where(links.c.project_id == "hash", links.c.position == 4)
    await execute(store, changed.values(hash=b"0" * 32))
    for column in columns:
        result = await verify_all(store, column)
        assert result.broken and (result.broken.position, result.broken.row.position) == (4, 4), column
        assert "was changed" in result.broken.reason
    assert (await verify_all(store, "other")).broken is None


async def test_a_deleted_row_is_named(store: Store) -> None:
    """The first, one in between, and the last: the row, its place in the chain, or both."""
    cases = [(what, position) for what in ("row", "place", "both") for position in (1, 4, 6)]
    for what, position in cases:
        await add(store, 6, project_id=f"{what} {position}")
    await seal(store.database)
    links = tables.audit_links
    for what, position in cases:
        project_id = f"{what} {position}"
        if what != "place":
            await execute(store, sa.delete(tables.audit).where(at(project_id, position)))
        if what != "row":
            of_project = links.c.project_id == project_id
            await execute(store, sa.delete(links).where(of_project, links.c.position == position))
        result = await verify_all(store, project_id)
        assert result.broken and result.broken.position == position, project_id
        assert "deleted" in result.broken.reason


async def test_a_row_that_the_server_did_not_add_is_named(store: Store) -> None:
    """With a number that no transaction can use any more, so that it is never added to the chain."""
    await add(store, 3)
    assert (await verify_all(store)).broken is None
    content = {name: getattr((await rows(store))[0], name) for name in audit_chain.CONTENT}
    await execute(store, sa.insert(tables.audit).values(seq=0, **content | {"actor_name": "eve"}))
    result = await verify_all(store)
    assert result.broken and (result.broken.position, result.broken.row.actor_name) == (4, "eve")
    assert "in no chain" in result.broken.reason
    assert (await verify_all(store, "other")).broken is None


async def unread_rows(store: Store) -> int:
    """Rows that the next run reads, although they may be in the chain."""
    newest = sa.select(sa.func.max(tables.audit.c.seq)).scalar_subquery()
    ((newest_seq, settled),) = await store.database.rows(sa.select(newest, tables.audit_sealing.c.settled))
    return int(newest_seq - settled)


async def test_rows_of_transactions_that_commit_late_are_added_once(empty_postgres_url: str) -> None:
    """In any order of writing, committing, undoing and sealing, by two servers."""
    store = await Store.open(empty_postgres_url)
    other = Store(Database(empty_postgres_url), store._clock, store.settings)
    engine = create_async_engine(empty_postgres_url)
    for seed in range(4):
        await commit_late(Random(seed), f"shop-{seed}", (store, other), engine)
    await add(store, 1)
    await seal(store.database)
    assert await unread_rows(store) == 0, "rows that are settled are not read again"
    await engine.dispose()
    await other.close()
    await store.close()


async def commit_late(random: Random, project_id: str, stores: Sequence[Store], engine: AsyncEngine) -> None:
    await add(stores[0], 1, project_id)
    content = {name: getattr((await rows(stores[0], project_id))[0], name) for name in audit_chain.CONTENT}
    transactions: list[tuple[AsyncConnection, str]] = []
    committed = ["s0"]
    for step in range(60):
        match random.choice(("begin", "begin", "end", "seal", "seal", "add")):
            case "begin" if len(transactions) < 4:
                connection = await engine.connect()
                values = content | {"record_id": f"t{step}"}
                await connection.execute(sa.insert(tables.audit).values(values))
                transactions.append((connection, f"t{step}"))
            case "end" if transactions:
                connection, id = transactions.pop(random.randrange(len(transactions)))
                if random.random() < 0.7:
                    await connection.commit()
                    committed.append(id)
                await connection.close()
            case "seal":
                await seal(random.choice(stores).database)
            case "add":
                record = Subject(kind="session", id=f"a{step}", project_id=project_id)
                await random.choice(stores).record_action("create", record, {}, by=ANN)
                committed.append(record.id)
    for connection, _ in transactions:
        await connection.close()
    stored = await rows(stores[0], project_id)
    assert sorted(row.record_id for row in stored) == sorted(committed)
    assert [row.position for row in stored] == list(range(1, len(committed) + 1))
    result = await verify_all(stores[0], project_id)
    assert (result.broken, result.head.position) == (None, len(committed))


async def test_a_transaction_that_takes_long_delays_no_other_row(empty_postgres_url: str) -> None:
    store = await Store.open(empty_postgres_url)
    await add(store, 1)
    content = {name: getattr((await rows(store))[0], name) for name in audit_chain.CONTENT}
    engine = create_async_engine(empty_postgres_url)
    async with engine.connect() as connection:
        await connection.execute(sa.insert(tables.audit).values(content))
        for count in (1, 2, 3):
            await add(store, 1)
            assert await seal(store.database) == 1
            # Its row has the lowest number of these.
            assert await unread_rows(store) == count + 1
        await connection.commit()
    await engine.dispose()
    assert await seal(store.database) == 1
    assert (await verify_all(store)).head.position == 5
    await store.close()


async def test_a_replaced_end_and_a_forged_anchor_are_found(store: Store) -> None:
    await add(store, 4)
    await seal(store.database)
    heads = tables.audit_heads
    await execute(store, sa.update(heads).values(hash=b"1" * 32))
    result = await verify_all(store)
    assert result.broken and "head of the chain" in result.broken.reason
    # As if retention had deleted the first three rows.
    kept = (await rows(store))[2]
    await execute(
        store,
        sa.delete(tables.audit_links).where(tables.audit_links.c.position <= 3),
        sa.delete(tables.audit).where(tables.audit.c.seq < (await rows(store))[3].seq),
        sa.update(heads).values(anchor_position=3, anchor_hash=kept.hash),
    )
    result = await verify_all(store)
    assert result.broken and "no record of the deletion" in result.broken.reason


async def test_old_rows_are_deleted_and_the_rest_still_verifies(store: Store) -> None:
    await add(store, 5)
    await add(store, 1, "other")
    stored = await rows(store)
    now = int(time.time() * 1_000_000)
    assert await audit_chain.delete_old(store.database, stored[3].at, now, JOB) == 3
    left = await rows(store)
    assert [row.position for row in left] == [4, 5, 6]
    assert (left[-1].record_kind, left[-1].actor_id) == ("audit_log", "delete-old-audit-rows")
    assert '"deleted":3' in left[-1].after and stored[2].hash.hex() in left[-1].after
    result = await verify_all(store)
    assert (result.broken, result.anchor.position) == (None, 3)
    await add(store, 1)
    await seal(store.database)
    # The newest row stays, even if it is old.
    await audit_chain.delete_old(store.database, now * 2, now, JOB)
    assert [row.position for row in await rows(store)] == [7, 8]
    assert await audit_chain.delete_old(store.database, stored[0].at, now, JOB) == 0
    assert (await verify_all(store)).broken is None
    assert [row.position for row in await rows(store, "other")] == [1]


async def test_rows_from_before_the_chain_are_added_to_it_once(store: Store) -> None:
    """In several batches. A row in the chain cannot be moved."""
    await add(store, 1)
    content = {name: getattr((await rows(store))[0], name) for name in audit_chain.CONTENT}
    many = [sa.insert(tables.audit).values(**content | {"record_id": f"r{n}"}) for n in range(1001)]
    await store.database.write(lambda connection: [connection.execute(one) for one in many] and None)
    assert await seal(store.database, max_rows=500) == 500
    partly = await verify(store.database, "shop", max_rows=400)
    assert not partly.completed
    assert (await verify_all(store)).head.position == 1002
    assert await seal(store.database) == 0
    for values in ({"position": 5000}, {"position": None}, {"hash": b"0"}):
        with pytest.raises(Exception, match="cannot be changed"):
            await execute(store, sa.update(tables.audit_links).values(values))


async def test_a_row_that_is_added_during_verification_is_no_error(store: Store) -> None:
    await add(store, 3)
    writing = asyncio.create_task(add(store, 60))
    while not writing.done():
        assert (await verify_all(store)).broken is None
    await writing


@pytest.fixture
async def log(store: Store) -> AsyncIterator[Store]:
    """Seven rows: three of ann, of which one is a refusal; then one of a job; three in another project."""
    await add(store, 2)
    refused = Subject(kind="application", id="app", project_id="shop")
    await store.record_action("refuse", refused, {"reason": "May not ÄNDERN 100%"}, by=ANN)
    await add(store, 1, by=JOB)
    await add(store, 3, "other")
    await seal(store.database)
    yield store


async def load(
    store: Store,
    size: int = 2,
    *,
    oldest_first: bool = False,
    max_scanned: int = MAX_SCANNED,
    **filters: Any,
) -> list[int]:
    """The positions of all entries, read in pages."""
    positions: list[int] = []
    cursor = ""
    while True:
        result: AuditPage = await page(
            store.database,
            "shop",
            AuditFilter(**filters),
            size=size,
            cursor=cursor,
            oldest_first=oldest_first,
            max_scanned=max_scanned,
        )
        assert len(result.rows) <= size
        positions += [row.position for row in result.rows]
        if not (cursor := result.cursor):
            return positions


async def test_the_log_is_read_in_pages_with_filters(log: Store) -> None:
    assert await load(log) == [4, 3, 2, 1]
    assert await load(log, 1, oldest_first=True) == [1, 2, 3, 4]
    third = (await rows(log))[2]
    for filters, expected in [
        ({"since": third.at}, [4, 3]),
        ({"until": third.at}, [2, 1]),
        ({"record_id": "s0"}, [4, 1]),
        ({"record_kind": "application"}, [3]),
        ({"actor": "ann"}, [3, 2, 1]),
        ({"actor": "delete-old-audit-rows"}, [4]),
        ({"actor_kinds": ["job", "piped"]}, [4]),
        ({"action": "AddApplication"}, [3, 2, 1]),
        ({"action": "Application"}, []),
        ({"operations": ["refuse"]}, [3]),
        ({"search": "100% may"}, [3]),
        ({"search": "192.0.2.7 S1"}, [2]),
        ({"search": "_"}, []),
        ({"search": "nothing"}, []),
    ]:
        assert await load(log, **filters) == expected, filters
    for cursor in ("x", "W10=", "WyJhIiwgMV0=", "Wy0xLCAxXQ==", "WzFlOTksIDFd"):
        with pytest.raises(Refused):
            await page(log.database, "shop", AuditFilter(), size=1, cursor=cursor, oldest_first=False)
    with pytest.raises(Refused):
        await page(log.database, "shop", AuditFilter(), size=201, cursor="", oldest_first=False)


async def test_a_search_looks_at_a_bounded_number_of_rows_at_a_time(log: Store) -> None:
    assert MAX_SCANNED <= 10_000
    first = await page(
        log.database,
        "shop",
        AuditFilter(record_kind="application"),
        size=2,
        cursor="",
        oldest_first=False,
        max_scanned=2,
    )
    assert [row.position for row in first.rows] == [3] and first.cursor
    assert await load(log, max_scanned=2, record_kind="application") == [3]
    assert await load(log, max_scanned=2, search="number") == [4, 2, 1]
    assert await load(log, oldest_first=True, max_scanned=2, search="number") == [1, 2, 4]


async def test_a_search_finds_rows_by_the_name_of_what_they_are_about(store: Store) -> None:
    """Their rows have only ids: of the record, or of what a command is about."""
    prod = {"env": "prod"}
    app = Application(id="a1", project_id="shop", name="Checkout_web", labels=prod)
    await store.create(app, by=ANN)
    await store.create(Application(id="a2", project_id="shop", name="other"), by=ANN)
    await store.create(Piped(id="p1", project_id="shop", name="tokyo"), by=ANN)
    await store.create(
        Deployment(id="d1", project_id="shop", application_id="a1", application_name=app.name, labels=prod),
        by=ANN,
    )
    about = [
        ("application", "a1"),
        ("application", "a2"),
        ("deployment", "d1"),
        ("piped", "p1"),
        ("piped", "a1"),
    ]
    for kind, id in about:
        await store.record_action("update", Subject(kind=kind, id=id, project_id="shop"), {"x": 1}, by=JOB)
    for fields in ({"application_id": "a1"}, {"piped_id": "p1"}, {"deployment_id": "a1"}, {}):
        subject = Subject(kind="command", id="c", project_id="shop")
        await store.record_action("create", subject, fields, by=JOB)
    elsewhere = Application(id="a3", project_id="other", name="checkout_web")
    await store.create(elsewhere, by=ANN)
    await store.record_action(
        "update", Subject(kind="application", id="a3", project_id="shop"), {"x": 1}, by=JOB
    )
    await seal(store.database)
    jobs: dict[str, Any] = {"actor_kinds": ["job"]}
    assert await load(store, **jobs) == list(range(14, 4, -1))
    none: dict[str, list[Labels] | None] = {"application": [], "deployment": [], "piped": []}
    for search, named, expected in [
        ("checkout_WEB", {}, [10, 7, 5]),
        ("checkout", {}, [10, 7, 5]),
        ("checkoutXweb", {}, []),
        ("tokyo", {}, [11, 8]),
        ("checkout command", {}, [10]),
        ("checkout tokyo", {}, []),
        ("checkout", {"application": [{"env": "prod"}], "deployment": [{"env": "dev"}]}, [10, 5]),
        ("checkout", {"application": [{"env": "dev"}]}, [7]),
        ("checkout", none, []),
        ("tokyo", none, []),
    ]:
        assert await load(store, **jobs, search=search, named=named) == expected, (search, named)


async def test_a_refused_change_leaves_the_chain_as_it_was(store: Store) -> None:
    await store.create(Piped(id="p", project_id="shop", name="p"), by=ANN)

    def refuse(record: Piped) -> None:
        raise Conflict("no")

    with pytest.raises(Conflict):
        await store.update(Piped, "p", refuse, by=ANN)
    result = await verify_all(store)
    assert (result.broken, result.head.position) == (None, 1)
