"""Migrations keep the records of a database that an older version wrote."""

import pytest
import sqlalchemy as sa

from pipecd.controlplane.store import Store, lists
from pipecd.controlplane.store.lists import ApplicationFilter, DeploymentFilter, Paging
from pipecd.controlplane.store.migrate import migrate_database, run_in_transaction
from pipecd.controlplane.store.migrations.versions import v0003_kind_names
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.artifact_pb2 import DeployTargets
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.kind_pb2 import ECS

COLUMNS = ("id", "project_id", "data", "version", "touched", "kind")


async def test_stored_numbers_of_kinds_become_names(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v0003_kind_names, "BATCH_SIZE", 1)
    await migrate_database(url, "0002")
    plugin = {"directory": DeployTargets()}
    applications = [
        Application(id="a1", project_id="shop", kind=ECS),
        Application(id="a2", project_id="shop", deploy_targets_by_plugin=plugin),
        Application(id="a3", project_id="shop"),
    ]
    deployment = Deployment(id="d1", project_id="shop", deploy_targets_by_plugin=plugin)

    def insert(connection: sa.Connection) -> None:
        for table, records in (("applications", applications), ("deployments", [deployment])):
            for record in records:
                row = {
                    "id": record.id,
                    "project_id": "shop",
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
