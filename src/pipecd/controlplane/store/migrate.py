"""Brings a database's schema up to date, before anything else touches it."""

import asyncio
from importlib.resources import as_file, files

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from pipecd.controlplane.store.engine import Database


async def migrate_database(url: str) -> None:
    """Runs what is missing; replicas that start at once take turns. Raises ConfigError or Temporary."""
    database = Database(url)
    try:
        async with database.write() as connection:
            if not database.sqlite:
                # SQLite's immediate transaction is the lock; PostgreSQL has one for the purpose.
                await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(7_351_022)))
            await connection.run_sync(_upgrade)
    finally:
        await database.close()
    await asyncio.sleep(0)


def _upgrade(connection: sa.Connection) -> None:
    with as_file(files("pipecd.controlplane.store") / "migrations") as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
