"""Statements that differ in their values share one compilation; each is executed with its own values."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.asyncpg import dialect as postgresql_dialect
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect

from pipecd.controlplane.store.statements import compiler
from pipecd.controlplane.store.tables import applications, audit, deployments

DEPLOYMENT, APPLICATION = deployments.c, applications.c
#: Each builds a statement from two strings and two numbers.
BUILDERS: list[Callable[[str, str, int, int], Any]] = [
    lambda a, b, m, n: sa.select(DEPLOYMENT.id).where(DEPLOYMENT.project_id == a, DEPLOYMENT.status == m),
    lambda a, b, m, n: (
        sa.select(APPLICATION.id).where(APPLICATION.words.contains(a, autoescape=True)).limit(n)
    ),
    lambda a, b, m, n: (
        sa.select(DEPLOYMENT.id, DEPLOYMENT.data)
        .where(
            DEPLOYMENT.touched >= n,
            sa.or_(
                DEPLOYMENT.touched < m, sa.and_(DEPLOYMENT.touched == m, DEPLOYMENT.id < sa.bindparam("x", b))
            ),
        )
        .order_by(DEPLOYMENT.touched.desc())
        .limit(n)
    ),
    lambda a, b, m, n: sa.select(DEPLOYMENT.id).where(DEPLOYMENT.id.in_([a, b] * (1 + n % 2))),
    lambda a, b, m, n: sa.select(sa.func.count()).select_from(audit).where(audit.c.record_id.in_([a])),
    lambda a, b, m, n: sa.update(applications).where(APPLICATION.id == a).values(name=b, disabled=m),
    lambda a, b, m, n: sa.insert(applications).inline().values(id=a, name=b, disabled=m),
    lambda a, b, m, n: sa.delete(audit).where(audit.c.at < n, audit.c.record_id == a),
    lambda a, b, m, n: sa.text("SELECT 1"),
]

#: SQLAlchemy has no type of its constructor.
_postgresql: Any = postgresql_dialect


@pytest.mark.parametrize("dialect", [sqlite_dialect(), _postgresql()], ids=["sqlite", "postgresql"])
@pytest.mark.parametrize("build", BUILDERS)
def test_each_statement_is_executed_with_its_own_values(
    build: Callable[[str, str, int, int], Any], dialect: sa.Dialect
) -> None:
    shared = compiler(dialect)
    for values in (("a", "b", 1, 2), ("100%", "c", 3, 4), ("a", "b", 3, 5), ("d", "d", 0, 0)):
        statement = build(*values)
        command, alone = shared(statement, None), compiler(dialect)(statement, None)
        assert (command.text, command.values({})) == (alone.text, alone.values({}))


def test_parameters_replace_the_values_of_a_statement() -> None:
    compile = compiler(sqlite_dialect())
    statement = sa.select(DEPLOYMENT.id).where(
        DEPLOYMENT.project_id == sa.bindparam("project", ""), DEPLOYMENT.status == 1
    )
    command = compile(statement, ("project",))
    assert command.values({"project": "shop"}) == ["shop", 1]
    assert command.values({"project": "other"}) == ["other", 1]
