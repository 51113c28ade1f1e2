"""Backups as docs/guide/operating.md describes them, taken while records are written."""

import asyncio
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import sqlalchemy as sa

from pipecd.controlplane.store import Store, tables
from pipecd.schema.model.piped_pb2 import Piped
from tests.actors import TESTER
from tests.contracts import postgres
from tests.contracts.conftest import empty_database


@asynccontextmanager
async def writing(store: Store) -> AsyncIterator[Callable[[], int]]:
    """Creates agents `1`, `2`, … one after another; yields a function that says how many there are."""
    written, some = 0, asyncio.Event()

    async def write() -> None:
        nonlocal written
        while True:
            await store.create(Piped(id=str(written + 1), project_id="shop", name="x"), by=TESTER)
            written += 1
            if written == 5:
                some.set()

    task = asyncio.create_task(write())
    try:
        await some.wait()
        yield lambda: written
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def check_restored(url: str, at_least: int) -> None:
    """The restored database has all records that were written before the backup, and works."""
    store = await Store.open(url)
    try:
        await store.get(Piped, str(at_least))
        await store.create(Piped(id="after", project_id="shop", name="x"), by=TESTER)
        ((rows,),) = await store.database.rows(sa.select(sa.func.count()).select_from(tables.audit))
        ((records,),) = await store.database.rows(sa.select(sa.func.count()).select_from(tables.pipeds))
        assert rows == records, "each record has its row in the audit log"
    finally:
        await store.close()


async def test_postgresql_is_restored_from_a_dump(empty_postgres_url: str, tmp_path: Path) -> None:
    url = sa.make_url(empty_postgres_url)
    connection = [f"--host={url.query['host']}", "--username=postgres"]
    dump = tmp_path / "pipecd.dump"
    store = await Store.open(empty_postgres_url)
    async with writing(store) as written:
        before = written()
        command = [str(postgres.binary("pg_dump")), *connection, "--format=custom", f"--file={dump}"]
        await asyncio.to_thread(subprocess.run, [*command, str(url.database)], check=True)
    await store.close()
    async with empty_database(empty_postgres_url) as restored:
        name = sa.make_url(restored).database
        command = [str(postgres.binary("pg_restore")), *connection, "--no-owner", f"--dbname={name}"]
        await asyncio.to_thread(subprocess.run, [*command, str(dump)], check=True)
        await check_restored(restored, before)


async def test_sqlite_is_restored_from_a_backup(tmp_path: Path) -> None:
    file, backup = tmp_path / "pipecd.db", tmp_path / "pipecd.backup"
    store = await Store.open(f"sqlite:///{file}")

    def back_up() -> None:
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(backup)) as target:
            source.backup(target)

    async with writing(store) as written:
        before = written()
        await asyncio.to_thread(back_up)
    await store.close()
    await check_restored(f"sqlite:///{backup}", before)
