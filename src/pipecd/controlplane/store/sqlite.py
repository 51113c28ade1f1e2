"""SQLite: reads in three threads, writes in one, each with its own connection. Used by `Database`.

A thread executes a whole transaction, so that a call costs one change of thread, and a caller that is
cancelled leaves no transaction open: one that has begun is completed without it.

SQLite allows one writer at a time, so writers wait for their thread here instead of failing in SQLite. Those
that wait at the same time are committed together, each in a savepoint: a commit writes to the disk, and costs
more than the statements before it.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from pipecd.clock import Clock
from pipecd.controlplane.store.statements import (
    Command,
    Compile,
    Connection,
    ConstraintViolated,
    Result,
    compiler,
)
from pipecd.controlplane.store.turns import Turns
from pipecd.errors import ConfigError, PipecdError, Place, Temporary

log = structlog.get_logger()

T = TypeVar("T")

#: How long SQLite waits for a lock of another process, in seconds; also the longest an operation may take.
BUSY_TIMEOUT = 20
#: Threads that read: one more than the calls that may read all records of a project (`CallSettings`).
READERS = 3
#: Of these, and of the transactions that are committed together: how many may be of agents (`turns`).
READERS_OF_AGENTS, WRITES_OF_AGENTS = 2, 32
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "foreign_keys=ON",
    f"busy_timeout={BUSY_TIMEOUT * 1000}",
)
#: Primary result codes. BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, FULL, PROTOCOL: it may work later.
_OUTAGES = frozenset({5, 6, 7, 9, 10, 13, 15})
#: PERM, READONLY, CORRUPT, CANTOPEN, AUTH, NOTADB: an operator must act.
_UNUSABLE = frozenset({3, 8, 11, 14, 23, 26})
#: Transactions that are committed together; bounds how long the first one waits for the last one.
MAX_BATCH = 64


class _Compiler(SQLiteCompiler):
    """Writes hints, such as `INDEXED BY`, after the name of the table, where SQLite expects them."""

    def get_from_hint_text(self, table: sa.FromClause, text: str | None) -> str | None:
        return text


class _Dialect(SQLiteDialect_pysqlite):
    statement_compiler = _Compiler


class Backend:
    def __init__(self, url: sa.URL) -> None:
        self._url, self._compile = url, compiler(_Dialect())
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-reader")
        #: The connection of each thread that reads, and all of them.
        self._open = threading.local()
        self._connections: list[_Connection] = []
        self._writer = _Writer(url, self._compile)
        self._read_turns, self._write_turns = Turns(READERS_OF_AGENTS), Turns(WRITES_OF_AGENTS)
        self._closed = False

    async def read(self, function: Callable[[Connection], T]) -> T:
        async with self._read_turns.taken():
            self._require_open()
            return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, function)

    async def write(self, function: Callable[[Connection], T], after: Callable[[], None]) -> T:
        async with self._write_turns.taken():
            self._require_open()
            result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            self._writer.jobs.put(_Job(function, after, result))
            return await result

    async def listen(self, wake: Callable[[], None], clock: Clock) -> None:
        await asyncio.Event().wait()

    async def notify(self) -> None:
        pass

    async def close(self) -> None:
        self._closed = True
        await asyncio.to_thread(self._close)

    def _require_open(self) -> None:
        if self._closed:
            raise Temporary("the database is closed: the control plane is shutting down")

    def _read(self, function: Callable[[Connection], T]) -> T:
        connection = getattr(self._open, "connection", None)
        if connection is None:
            connection = self._open.connection = _Connection(self._url, self._compile)
            self._connections.append(connection)
        return function(connection)

    def _close(self) -> None:
        self._readers.shutdown()
        for connection in self._connections:
            connection.driver.close()
        self._writer.close()


class _Connection(Connection):
    sqlite = True

    def __init__(self, url: sa.URL, compile: Compile) -> None:
        super().__init__(compile)
        self.driver = connect(url)

    def _run(self, command: Command, values: Sequence[object]) -> Result:
        try:
            cursor = self.driver.execute(command.text, values)
        except sqlite3.IntegrityError as error:
            raise ConstraintViolated(str(error)) from error
        if command.make_row is None:
            return Result(rowcount=cursor.rowcount)
        return Result(rows=[command.make_row(row) for row in cursor.fetchall()])


@dataclass(frozen=True)
class _Job:
    function: Callable[[Connection], Any]
    #: Called on the event loop before the result is set.
    after: Callable[[], None]
    result: "asyncio.Future[Any]"


@dataclass(frozen=True)
class _Outcome:
    value: object = None
    error: BaseException | None = None


class _Writer:
    """The thread that writes: takes jobs until `close`."""

    def __init__(self, url: sa.URL, compile: Compile) -> None:
        self._url, self._compile = url, compile
        self._open: _Connection | None = None
        #: None ends the thread.
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Execute the jobs that wait, and end the thread."""
        self.jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self.jobs.get()) is not None:
            batch = [job]
            with suppress(Empty):
                while len(batch) < MAX_BATCH and (job := self.jobs.get_nowait()) is not None:
                    batch.append(job)
            # The caller of a job that has not begun may have been cancelled.
            batch = [job for job in batch if not job.result.cancelled()]
            if batch:
                outcomes = self._execute(batch)
                # The loop is closed if its program ended without `close`.
                with suppress(RuntimeError):
                    batch[0].result.get_loop().call_soon_threadsafe(_finish, batch, outcomes)
            if job is None:
                break
        if self._open is not None:
            self._open.driver.close()

    def _execute(self, batch: Sequence[_Job]) -> Sequence[_Outcome]:
        try:
            if self._open is None:
                self._open = _Connection(self._url, self._compile)
            return _commit(self._open, [job.function for job in batch])
        except BaseException as error:  # noqa: BLE001 raised to each caller
            if self._open is not None and self._open.driver.in_transaction:
                # It could not be undone either. The next transaction uses a new connection.
                self._open.driver.close()
                self._open = None
            return [_Outcome(error=error)] * len(batch)


def _commit(connection: _Connection, functions: Sequence[Callable[[Connection], Any]]) -> list[_Outcome]:
    """Execute all `functions` in one transaction. An error of one that is not alone undoes it alone."""
    driver = connection.driver
    driver.execute("BEGIN IMMEDIATE")
    try:
        if len(functions) == 1:
            outcomes = [_Outcome(functions[0](connection))]
        else:
            outcomes = [_execute_in_savepoint(connection, function) for function in functions]
        driver.execute("COMMIT")
    except BaseException:
        # After some errors, such as a full disk, SQLite has undone the transaction itself.
        if driver.in_transaction:
            driver.execute("ROLLBACK")
        raise
    return outcomes


def _execute_in_savepoint(connection: _Connection, function: Callable[[Connection], Any]) -> _Outcome:
    driver = connection.driver
    driver.execute("SAVEPOINT job")
    try:
        outcome = _Outcome(function(connection))
    except Exception as error:
        if not driver.in_transaction:
            raise
        driver.execute("ROLLBACK TO job")
        outcome = _Outcome(error=error)
    driver.execute("RELEASE job")
    return outcome


def _finish(batch: Sequence[_Job], outcomes: Sequence[_Outcome]) -> None:
    for job, outcome in zip(batch, outcomes, strict=True):
        job.after()
        if job.result.cancelled():
            continue
        if outcome.error is None:
            job.result.set_result(outcome.value)
        else:
            job.result.set_exception(outcome.error)


def connect(url: sa.URL) -> sqlite3.Connection:
    """Open the database. Raises ConfigError if its directory cannot be created."""
    path = url.database or ":memory:"
    folder = Path(path).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be created: {error.strerror}",
            remedy="name a writable path",
            place=Place(key="spec.datastore.config.path"),
        ) from error
    # The driver begins no transaction by itself: outside one, a statement sees all that is committed.
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection


def translate_error(error: BaseException, url: sa.URL) -> PipecdError | None:
    """None for an error that is not the database's."""
    if not isinstance(error, sqlite3.Error):
        return None
    # The last 8 bits of an extended result code are the primary one.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _UNUSABLE:
        return ConfigError(
            f"the database {url.database} cannot be used: {error}",
            remedy="restore it from a backup, or check its path and permissions",
            place=Place(key="spec.datastore.config.path"),
        )
    if code in _OUTAGES:
        log.warning("database_unavailable", error=str(error))
        # Unlike those of PostgreSQL, the messages of SQLite never name the database.
        return Temporary(f"the database does not respond: {error}")
    return None
