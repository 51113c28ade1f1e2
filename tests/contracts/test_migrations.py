"""Migrations keep the records of a database that an older version wrote."""

from hashlib import sha256

import sqlalchemy as sa

from pipecd.controlplane.store import Store, audit_chain, lists, tables
from pipecd.controlplane.store.lists import ApplicationFilter, DeploymentFilter, Paging
from pipecd.controlplane.store.migrate import migrate_database, run_in_transaction
from pipecd.controlplane.store.migrations.versions.v0003_kind_names import BATCH_SIZE
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.artifact_pb2 import DeployTargets
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.kind_pb2 import ECS

COLUMNS = ("id", "project_id", "data", "version", "touched", "kind")


async def test_stored_numbers_of_kinds_become_names(url: str) -> None:
    await migrate_database(url, "0002")
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

    await run_in_transaction(sa.make_url(url), insert)
    store = await Store.open(url)
    try:
        for kind, expected in (("ECS", "a1"), ("DIRECTORY", "a2"), ("KUBERNETES", "a3")):
            listed = await lists.all_applications(store, "shop", ApplicationFilter(kinds=[kind]))
            assert [application.id for application in listed] == [expected], kind
        page = await lists.deployments(store, "shop", DeploymentFilter(kinds=["DIRECTORY"]), Paging())
        assert [listed.id for listed in page.records] == ["d1"]
    finally:
        await store.close()


async def test_rows_that_are_in_a_chain_stay_in_it(url: str) -> None:
    await migrate_database(url, "0012")
    content = {
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

    await run_in_transaction(sa.make_url(url), insert)
    store = await Store.open(url)
    try:
        result = await audit_chain.verify(store.database, "shop")
        assert (result.broken, result.verified) == (None, result.head)
        assert (result.head.position, result.head.hash) == (4, previous)
    finally:
        await store.close()


async def test_labels_of_stored_records_are_indexed(url: str) -> None:
    """Those that were stored before, and those that a server of the version before writes afterwards."""
    await migrate_database(url, "0013")
    odd = "\nenv:a\\nb\nquote:\"'\nteam:\u00e4\n"
    names = ("id", "project_id", "data", "version", "touched", "labels")

    def insert(connection: sa.Connection) -> None:
        for table in ("applications", "deployments", "events"):
            for id, labels in (("1", odd), ("2", "")):
                row = dict(zip(names, (id, "shop", b"", 1, 1, labels), strict=True))
                connection.execute(sa.table(table, *map(sa.column, names)).insert().values(row))

    async def indexed() -> set[tuple[str, ...]]:
        return {tuple(row) for row in await store.database.rows(sa.select(tables.labels))}

    await run_in_transaction(sa.make_url(url), insert)
    store = await Store.open(url)
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
            for change in changes:
                await store.database.write(lambda connection, change=change: connection.execute(change))
        long = "long:" + "x" * (tables.MAX_INDEXED_LABEL - 5)
        assert await indexed() == {
            ("shop", kind, label, "1") for kind in kinds for label in ("team:\u00e4", long)
        }
        for name in kinds.values():
            delete = sa.delete(tables.metadata.tables[name])
            await store.database.write(lambda connection, change=delete: connection.execute(change))
        assert await indexed() == set()
    finally:
        await store.close()
