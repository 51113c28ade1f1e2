"""SQLAlchemy engine for SQLite that defers cancellation until a transaction has ended. Used by `Database`.

An aiosqlite connection is a thread that executes operations one by one. If the task that waits for an
operation is cancelled, the thread continues with it, and SQLAlchemy must discard the connection; if the task
is cancelled twice, closing the connection may never finish, with a transaction still open in it. Clients
disconnect often, so every operation is awaited to completion here, and CancelledError is raised after the
transaction.
"""

import asyncio
import functools
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import aiosqlite
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from pipecd.errors import ConfigError

#: How long SQLite waits for a lock of another process, in seconds; also the longest an operation may take.
BUSY_TIMEOUT = 20
#: Rows fetched at once when a result is streamed.
FETCH_SIZE = 64


class DeferredCancellations:
    """Records cancellations that arrive during an operation, to raise them after the transaction."""

    def __init__(self) -> None:
        self._deferred: set[asyncio.Task[Any] | None] = set()

    async def complete(self, operation: Awaitable[Any]) -> Any:
        """The result of `operation`, which runs to completion even if the waiting task is cancelled."""
        running = asyncio.ensure_future(operation)
        while not running.done():
            try:
                await asyncio.shield(running)
            except asyncio.CancelledError:
                self._deferred.add(asyncio.current_task())
        return running.result()

    @contextmanager
    def raise_after(self) -> Iterator[None]:
        """Wraps a transaction; afterwards raises CancelledError if `complete` deferred a cancellation."""
        task = asyncio.current_task()
        try:
            yield
        finally:
            if task in self._deferred:
                self._deferred.discard(task)
                raise asyncio.CancelledError


class _Cursor(aiosqlite.Cursor):
    """Executes a statement and fetches its rows in one round trip to the connection's thread, not in four.

    A cursor whose rows are fetched holds no statement, so that it can be created and closed in any thread.
    """

    _rows: Iterable[Any] = ()

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> Self:
        # aiosqlite's method is not typed.
        run: Callable[..., Awaitable[Any]] = self._execute
        self._rows = await run(self._execute_and_fetch, sql, parameters or ())
        return self

    def _execute_and_fetch(self, sql: str, parameters: Any) -> Iterable[Any]:
        self._cursor.execute(sql, parameters)
        return self._cursor.fetchall() if self._cursor.description else ()

    async def fetchall(self) -> Iterable[Any]:
        rows, self._rows = self._rows, ()
        return rows

    async def close(self) -> None:
        self._cursor.close()


class _Connection(aiosqlite.Connection):
    def __init__(
        self, connector: Callable[[], sqlite3.Connection], cancellations: DeferredCancellations
    ) -> None:
        super().__init__(connector, FETCH_SIZE)
        self._thread.daemon = True
        self._cancellations = cancellations

    def cursor(self) -> _Cursor:  # type: ignore[override]
        return _Cursor(self, self._conn.cursor())

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        # Every driver operation goes through this method: statements, commit, rollback, close.
        if not self._running or not self._connection:
            raise ValueError("Connection closed")
        result = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((result, functools.partial(fn, *args, **kwargs)))
        return await self._cancellations.complete(result)


def engine(url: sa.URL, begin: str, cancellations: DeferredCancellations, *, pool_size: int) -> AsyncEngine:
    """An engine that begins transactions with the statement `begin`.

    Raises ConfigError if the directory of the database cannot be created.
    """
    if url.database:
        folder = Path(url.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be created: {error.strerror}",
                remedy="set spec.datastore.config.path to a writable path",
            ) from error

    connect = functools.partial(
        sqlite3.connect, url.database or ":memory:", timeout=BUSY_TIMEOUT, check_same_thread=False
    )

    async def connection() -> aiosqlite.Connection:
        return await cancellations.complete(_Connection(connect, cancellations))  # type: ignore[no-any-return]

    async_engine = create_async_engine(url, pool_size=pool_size, max_overflow=0, async_creator=connection)

    @sa.event.listens_for(async_engine.sync_engine, "connect")
    def _settings(connection: Any, _: Any) -> None:
        # SQLAlchemy, not the driver, begins transactions.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
            f"busy_timeout={BUSY_TIMEOUT * 1000}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(async_engine.sync_engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return async_engine
