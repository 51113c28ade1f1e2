"""Migrations keep the records of a database that an older version wrote."""

from hashlib import sha256
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog

from pipecd.controlplane.store import Store, audit_chain, lists, tables
from pipecd.controlplane.store.lists import ApplicationFilter, DeploymentFilter, Paging
from pipecd.controlplane.store.migrate import migrate_database, run_in_transaction
from pipecd.controlplane.store.migrations import versions
from pipecd.controlplane.store.migrations.versions.v0003_kind_names import BATCH_SIZE
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.artifact_pb2 import DeployTargets
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.kind_pb2 import ECS
from tests.actors import TESTER
from tests.contracts.test_audit_chain import execute

COLUMNS = ("id", "project_id", "data", "version", "touched", "kind")


async def test_stored_numbers_of_kinds_become_names(empty_url: str) -> None:
    await migrate_database(empty_url, "0002")
    plugin = {"directory": DeployTargets()}
    applications = [
        Application(id="a1", project_id="shop", kind=ECS),
        Application(id="a2", project_id="shop", deploy_targets_by_plugin=plugin),
        Application(id="a3", project_id="shop"),
    ]
    # The last ones are in a second batch.
    before = [Application(id=f"{n:04}", project_id="other", kind=ECS) for n in range(BATCH_SIZE - 1)]
    deployment = Deployment(id="d1", project_id="shop", deploy_targets_by_plugin=plugin)

    def insert(connection: sa.Connection) -> None:
        for table, records in (("applications", [*before, *applications]), ("deployments", [deployment])):
            for record in records:
                row = {
                    "id": record.id,
                    "project_id": record.project_id,
                    "data": record.SerializeToString(),
                    "version": 1,
                    "touched": 1,
                    "kind": record.kind,
                }
                connection.execute(sa.table(table, *map(sa.column, COLUMNS)).insert().values(row))

    await run_in_transaction(sa.make_url(empty_url), insert)
    store = await Store.open(empty_url)
    try:
        for kind, expected in (("ECS", "a1"), ("DIRECTORY", "a2"), ("KUBERNETES", "a3")):
            listed = await lists.all_applications(store, "shop", ApplicationFilter(kinds=[kind]))
            assert [application.id for application in listed] == [expected], kind
        page = await lists.deployments(store, "shop", DeploymentFilter(kinds=["DIRECTORY"]), Paging())
        assert [listed.id for listed in page.records] == ["d1"]
    finally:
        await store.close()


async def test_rows_that_are_in_a_chain_stay_in_it(empty_url: str) -> None:
    await migrate_database(empty_url, "0012")
    content: dict[str, str | int] = {
        "at": 1,
        "project_id": "shop",
        **dict.fromkeys(("actor_id", "actor_name", "actor_project_id", "address", "action"), "x"),
        **dict.fromkeys(("actor_kind", "operation", "record_kind", "record_id"), "x"),
        "before": "{}",
        "after": "{}",
    }
    previous = audit_chain.START_HASH

    def insert(connection: sa.Connection) -> None:
        nonlocal previous
        names = (*content, "position", "hash")
        table = sa.table("audit", *map(sa.column, names))
        for position in (1, 2, 3, None):
            row = content | {"record_id": f"r{position}"}
            previous = sha256(previous + audit_chain.content_digest(row)).digest()
            sealed = {"position": position, "hash": previous if position else None}
            connection.execute(table.insert().values(row | sealed))
            if position == 3:
                head = {"project_id": "shop", "position": 3, "hash": previous}
                anchor = {"anchor_position": 0, "anchor_hash": audit_chain.START_HASH}
                connection.execute(tables.audit_heads.insert().values(head | anchor))

    await run_in_transaction(sa.make_url(empty_url), insert)
    store = await Store.open(empty_url)
    try:
        result = await audit_chain.verify(store.database, "shop")
        assert (result.broken, result.verified) == (None, result.head)
        assert (result.head.position, result.head.hash) == (4, previous)
    finally:
        await store.close()


async def test_labels_of_stored_records_are_indexed(empty_url: str) -> None:
    """Those that were stored before, and those that a server of the version before writes afterwards."""
    await migrate_database(empty_url, "0013")
    odd = "\nenv:a\\nb\nquote:\"'\nteam:\u00e4\n"
    names = ("id", "project_id", "data", "version", "touched", "labels")

    def insert(connection: sa.Connection) -> None:
        for table in ("applications", "deployments", "events"):
            for id, labels in (("1", odd), ("2", "")):
                row = dict(zip(names, (id, "shop", b"", 1, 1, labels), strict=True))
                connection.execute(sa.table(table, *map(sa.column, names)).insert().values(row))

    async def indexed() -> set[tuple[str, ...]]:
        return {tuple(row) for row in await store.database.rows(sa.select(tables.labels))}

    await run_in_transaction(sa.make_url(empty_url), insert)
    store = await Store.open(empty_url)
    try:
        kinds = {"application": "applications", "deployment": "deployments", "event": "events"}
        expected = {
            ("shop", kind, label, "1")
            for kind in kinds
            for label in ("env:a\\nb", "quote:\"'", "team:\u00e4")
        }
        assert await indexed() == expected
        for name in kinds.values():
            table = tables.metadata.tables[name]
            changes = (
                sa.update(table)
                .where(table.c.id == "1")
                .values(labels="\nteam:\u00e4\nlong:" + "x" * 500 + "\n"),
                sa.delete(table).where(table.c.id == "2"),
            )
            await execute(store, *changes)
        long = "long:" + "x" * (tables.MAX_INDEXED_LABEL - 5)
        assert await indexed() == {
            ("shop", kind, label, "1") for kind in kinds for label in ("team:\u00e4", long)
        }
        for name in kinds.values():
            await execute(store, sa.delete(tables.metadata.tables[name]))
        assert await indexed() == set()
    finally:
        await store.close()


def what_breaks_the_version_before(before: sa.MetaData, after: sa.MetaData) -> list[str]:
    """What a server that knows the tables of `before` cannot do with those of `after`."""
    found = []
    for name, table in before.tables.items():
        new = after.tables.get(name)
        if new is None:
            found.append(f"{name} is dropped")
            continue
        for column in table.columns:
            kept = new.columns.get(column.name)
            if kept is None:
                found.append(f"{name}.{column.name} is dropped")
            elif str(kept.type) != str(column.type):
                found.append(f"{name}.{column.name} has another type")
            elif column.nullable and not kept.nullable:
                found.append(f"{name}.{column.name} is required")
        found += [
            f"{name}.{column.name} is required, without a default"
            for column in new.columns
            if column.name not in table.columns and not column.nullable and column.server_default is None
        ]
        found += [f"{name} must be unique in {columns}" for columns in unique(new) - unique(table)]
        if len(new.constraints) > len(table.constraints):
            found.append(f"{name} has another constraint")
    return found


def unique(table: sa.Table) -> set[tuple[str, ...]]:
    return {tuple(column.name for column in index.columns) for index in table.indexes if index.unique}


#: Migrations that the version before does not work with. There was no release then; no more may be added.
BEFORE_THE_FIRST_RELEASE = {"0003", "0008", "0013"}


async def test_migrations_only_add(empty_url: str) -> None:
    """So that servers of the version before work while, and after, the schema is migrated."""

    async def reflect() -> sa.MetaData:
        metadata = sa.MetaData()
        await run_in_transaction(sa.make_url(empty_url), metadata.reflect)
        return metadata

    files = [file.stem for file in sorted(Path(next(iter(versions.__path__))).glob("v*.py"))]
    breaking = {}
    before = sa.MetaData()
    for file in files:
        revision = file[1:5]
        await migrate_database(empty_url, revision)
        after = await reflect()
        if problems := what_breaks_the_version_before(before, after):
            breaking[revision] = problems
        before = after
    assert breaking.keys() == BEFORE_THE_FIRST_RELEASE, breaking


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("DROP TABLE b", "b is dropped"),
        ("ALTER TABLE a DROP COLUMN x", "a.x is dropped"),
        ("ALTER TABLE a RENAME COLUMN x TO y", "a.x is dropped"),
        ("ALTER TABLE a ADD COLUMN y TEXT NOT NULL DEFAULT ''", ""),
        ("ALTER TABLE a ADD COLUMN y TEXT", ""),
        ("CREATE TABLE c (id TEXT NOT NULL)", ""),
        ("CREATE INDEX i ON a (x)", ""),
        ("CREATE UNIQUE INDEX i ON a (x)", "a must be unique in ('x',)"),
        (
            "DROP TABLE b; CREATE TABLE b (id TEXT NOT NULL, y TEXT NOT NULL)",
            "b.y is required, without a default",
        ),
        ("DROP TABLE b; CREATE TABLE b (id INTEGER)", "b.id has another type"),
    ],
)
def test_a_migration_that_breaks_the_version_before_is_found(change: str, expected: str) -> None:
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        for statement in ("CREATE TABLE a (id TEXT, x TEXT)", "CREATE TABLE b (id TEXT NOT NULL)"):
            connection.exec_driver_sql(statement)
        before, after = sa.MetaData(), sa.MetaData()
        before.reflect(connection)
        for statement in change.split("; "):
            connection.exec_driver_sql(statement)
        after.reflect(connection)
    assert what_breaks_the_version_before(before, after) == ([expected] if expected else [])


async def test_a_server_starts_on_the_schema_of_a_newer_version(empty_url: str) -> None:
    """As one that is started again during an upgrade, or after the new version was taken back."""
    await migrate_database(empty_url)
    newer = sa.text("UPDATE alembic_version SET version_num = '9999'")
    await run_in_transaction(sa.make_url(empty_url), lambda connection: connection.execute(newer))
    with structlog.testing.capture_logs() as logs:
        store = await Store.open(empty_url)
    try:
        await store.create(Application(id="a", project_id="shop"), by=TESTER)
        assert (await store.get(Application, "a")).version == 1
    finally:
        await store.close()
    assert [entry["schema"] for entry in logs if entry["event"] == "database_schema_is_newer"] == ["9999"]
