"""Migrates the database schema. Runs before anything else uses the database."""

from importlib.resources import as_file, files

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from pipecd.controlplane.store.engine import Database


async def migrate_database(url: str, revision: str = "head") -> None:
    """Run missing migrations up to `revision`, one replica at a time. Raises ConfigError or Temporary."""
    database = Database(url)
    try:
        async with database.write() as connection:
            if not database.sqlite:
                # On SQLite the immediate transaction is the lock; PostgreSQL needs an advisory lock.
                await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(7_351_022)))
            await connection.run_sync(_upgrade, revision)
    finally:
        await database.close()


def _upgrade(connection: sa.Connection, revision: str) -> None:
    with as_file(files("pipecd.controlplane.store") / "migrations") as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
