"""Databases with the current schema for tests, copied from one that was migrated once per process.

Migrating an empty database takes most of the CPU time of a control plane's start. `test_migrations` migrates,
and so does each control plane that a test starts as a process.
"""

import asyncio
import tempfile
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from pipecd.controlplane.store.migrate import migrate_database


def create_sqlite_database(file: Path) -> None:
    """Unless it exists."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_migrated_sqlite())


@cache
def _migrated_sqlite() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pipecd.db")
        _run(migrate_database(f"sqlite:///{file}"))
        return file.read_bytes()


def create_postgres_template(server: str) -> str:
    """Name of a new database of the PostgreSQL server with a database at the URL `server`."""
    name, url = "migrated", sa.make_url(server)
    _run(_create_database(url, name))
    _run(migrate_database(url.set(database=name).render_as_string(hide_password=False)))
    return name


async def _create_database(url: sa.URL, name: str) -> None:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(sa.text(f"CREATE DATABASE {name}"))
    await engine.dispose()


def _run(work: Coroutine[Any, Any, None]) -> None:
    # The caller's thread may have a running event loop.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
