"""PostgreSQL plans the lists that all agents poll once for a connection, not for each call."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from pipecd.controlplane.store import Store, lists
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
