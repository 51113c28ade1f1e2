"""PostgreSQL plans the lists that all agents poll once for a connection, not for each call."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from pipecd.controlplane.store import Store, lists
from pipecd.schema.model.application_pb2 import Application
from tests.contracts.test_audit_chain import execute

#: 20,000 records of 200 agents, four of each of which are unfinished, not handled, or not deleted.
INSERT = """
INSERT INTO {table} (id, project_id, data, version, touched, piped_id, {column})
SELECT md5(i::text), 'shop', '', 1, i, 'p' || (i % 200), CASE WHEN i / 200 % 33 = 0 THEN 0 ELSE 4 END
FROM generate_series(1, 20000) i
"""


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("table", "load"),
    [
        ("applications", lists.enabled_applications),
        ("deployments", lists.unfinished_deployments),
        ("commands", lists.unhandled_commands),
    ],
)
async def test_a_list_is_not_planned_for_each_call(
    store: Store, table: str, load: Callable[[Store, str, str], Awaitable[Sequence[object]]]
) -> None:
    column = "deleted" if table == "applications" else "status"
    for statement in (INSERT.format(table=table, column=column), f"ANALYZE {table}"):
        await execute(store, sa.text(statement))
    for _ in range(20):
        assert len(await load(store, "shop", "p5")) == 4
    prepared: Any = sa.select(sa.column("generic_plans"), sa.column("custom_plans"))
    rows = await store.database.rows(
        prepared.select_from(sa.table("pg_prepared_statements")).where(
            sa.column("statement").contains(f"FROM {table}"), sa.column("statement").contains("piped_id = $1")
        )
    )
    assert [(row.generic_plans >= 10, row.custom_plans <= 10) for row in rows] == [(True, True)]


#: 20,000 applications, each twentieth with the label of the role.
INSERT_LABELLED = r"""
INSERT INTO applications (id, project_id, data, version, touched, labels)
SELECT md5(i::text), 'shop', '', 1, i, E'\nteam\:t' || (i % 20) || E'\n' FROM generate_series(1, 20000) i
"""
#: The lines of a plan as rows of a query.
EXPLAIN = """
CREATE FUNCTION explain(statement text) RETURNS SETOF text LANGUAGE plpgsql AS
$$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN ' || statement; END $$
"""


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_records_of_a_role_are_counted_without_reading_all_others(store: Store) -> None:
    for statement in (INSERT_LABELLED, "ANALYZE", EXPLAIN):
        await execute(store, sa.text(statement))
    filters = lists.ApplicationFilter(included=[{"team": "t1"}])
    assert await lists.count_applications_by_status(store, "shop", filters) == {0: 1000}
    labelled = lists._Labelled(Application, "shop", ("team:t1",))
    query = lists._restricted(
        lists._count_by_status("shop", lists._hashable(filters)), labelled, sqlite=store.database.sqlite
    )
    dialect: Any = postgresql.dialect
    text = query.compile(dialect=dialect(), compile_kwargs={"literal_binds": True})
    rows = await store.database.rows(sa.select(sa.func.explain(str(text)).label("line")))
    plan = "\n".join(row.line for row in rows)
    assert "Seq Scan" not in plan and "Index" in plan, plan
