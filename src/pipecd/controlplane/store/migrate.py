"""Migrates the database schema. Runs before anything else uses the database."""

import asyncio
from collections.abc import Callable
from functools import cache
from importlib.resources import as_file, files

import sqlalchemy as sa
import structlog
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine

from pipecd.controlplane.store import sqlite
from pipecd.controlplane.store.engine import translate_errors

log = structlog.get_logger()


async def migrate_database(url: str, revision: str = "head") -> None:
    """Run missing migrations up to `revision`, one replica at a time. Raises ConfigError or Temporary."""
    await run_in_transaction(sa.make_url(url), lambda connection: _migrate(connection, revision))


async def run_in_transaction(url: sa.URL, function: Callable[[sa.Connection], object]) -> None:
    """Run `function` with a connection of SQLAlchemy, which migrations need, in one transaction."""
    with translate_errors(url):
        if url.get_backend_name() == "sqlite":
            await asyncio.to_thread(_run_with_sqlite, url, function)
            return
        engine = create_async_engine(url)
        try:
            async with engine.begin() as connection:
                await connection.run_sync(function)
        finally:
            await engine.dispose()


def _run_with_sqlite(url: sa.URL, function: Callable[[sa.Connection], object]) -> None:
    engine = sa.create_engine(url, creator=lambda: sqlite.connect(url), poolclass=sa.NullPool)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    with engine.begin() as connection:
        function(connection)


def _migrate(connection: sa.Connection, revision: str) -> None:
    if connection.dialect.name != "sqlite":
        # On SQLite the immediate transaction is the lock; PostgreSQL needs an advisory lock.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(7_351_022)))
    with as_file(files("pipecd.controlplane.store") / "migrations") as folder:
        scripts = _scripts(str(folder))
        current = MigrationContext.configure(connection).get_current_revision()
        head = scripts.get_current_head()
        if current and head and current > head:
            # A newer server has migrated it. This one works, too: see `tests/contracts/test_migrations.py`.
            log.warning("database_schema_is_newer", schema=current, known=head)
            return
        config = Config(attributes={"connection": connection})
        with EnvironmentContext(config, scripts, fn=lambda base, _: scripts._upgrade_revs(revision, base)):
            scripts.run_env()


@cache
def _scripts(folder: str) -> ScriptDirectory:
    """The migrations, which alembic compiles whenever it loads them."""
    return ScriptDirectory(folder)
