"""SQLite's engine, whose operations a cancellation cannot tear apart: `Database` reads and writes with it.

A connection of aiosqlite is a thread that is handed one operation after another. When the task that waits
for one is cancelled, the thread works on all the same, and SQLAlchemy must throw the connection away; when it
is cancelled twice, closing it may never end, with a transaction still open in it. Callers hang up all the
time, so here every operation is awaited to its end, and the cancellation comes when the transaction is over.
"""

import asyncio
import functools
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiosqlite
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from pipecd.errors import ConfigError

#: How long SQLite itself waits for another process's lock (seconds); so long may an operation take at most.
PATIENCE = 20
#: Rows handed over at once where a result is streamed.
CHUNK = 64


class Cancellations:
    """Those that arrived in the middle of an operation, and are due when the transaction has ended."""

    def __init__(self) -> None:
        self._due: set[asyncio.Task[Any] | None] = set()

    async def outlast(self, operation: Awaitable[Any]) -> Any:
        """The result of `operation`, which runs to its end whatever happens to the task that waits."""
        running = asyncio.ensure_future(operation)
        while not running.done():
            try:
                await asyncio.shield(running)
            except asyncio.CancelledError:
                self._due.add(asyncio.current_task())
        return running.result()

    @contextmanager
    def last(self) -> Iterator[None]:
        """Around a transaction: raises afterwards what `outlast` kept away from it."""
        task = asyncio.current_task()
        try:
            yield
        finally:
            if task in self._due:
                self._due.discard(task)
                raise asyncio.CancelledError


class _Connection(aiosqlite.Connection):
    def __init__(self, connector: Callable[[], sqlite3.Connection], cancellations: Cancellations) -> None:
        super().__init__(connector, CHUNK)
        self._thread.daemon = True
        self._cancellations = cancellations

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        # All that the driver does passes here: statements, commit, rollback, close.
        operation = super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
        return await self._cancellations.outlast(operation)


def engine(url: sa.URL, begin: str, cancellations: Cancellations, *, pool_size: int) -> AsyncEngine:
    """One whose transactions begin with the statement `begin`. Raises ConfigError where no file can be."""
    if url.database:
        folder = Path(url.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be made: {error.strerror}",
                remedy="give spec.datastore a path that can be written",
            ) from error

    connect = functools.partial(
        sqlite3.connect, url.database or ":memory:", timeout=PATIENCE, check_same_thread=False
    )

    async def connection() -> aiosqlite.Connection:
        return await cancellations.outlast(_Connection(connect, cancellations))  # type: ignore[no-any-return]

    made = create_async_engine(url, pool_size=pool_size, max_overflow=0, async_creator=connection)

    @sa.event.listens_for(made.sync_engine, "connect")
    def _settings(connection: Any, _: Any) -> None:
        # SQLAlchemy, not the driver, says when a transaction begins.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
            f"busy_timeout={PATIENCE * 1000}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(made.sync_engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return made
