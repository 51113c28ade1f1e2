"""PostgreSQL: a pool of connections. Used by `Database`.

A transaction runs in a task of its own, so that a caller that is cancelled does not cancel a statement:
asyncpg would close the connection, after asking the server through another one to end the statement.

Each statement costs a round trip, and as much time as the rest of a call. So a transaction begins with its
first write, because reads before it see the same without it, and the last writes are one statement
(`Connection.finish`), which is a transaction by itself if it is the only one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar
from uuid import uuid4

import asyncpg
import sqlalchemy as sa
import structlog
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.util import await_only, greenlet_spawn

from pipecd.clock import Clock, set_within
from pipecd.controlplane.store.statements import (
    MAX_COMPILED,
    Command,
    Compile,
    Connection,
    ConstraintViolated,
    Result,
    Write,
    compiler,
)
from pipecd.controlplane.store.turns import Turns
from pipecd.errors import PipecdError, Refused, Temporary

log = structlog.get_logger()

T = TypeVar("T")

_DIALECT: Any = PGDialect_asyncpg()  # type: ignore[no-untyped-call]
#: Connections, and how long a transaction waits for one (seconds).
POOL_SIZE, POOL_TIMEOUT = 8, 10.0
#: Of the connections, how many may execute transactions of agents (`turns`). The others are for people, whose
#: searches take two (`CallSettings`), streams and jobs.
POOL_SIZE_OF_AGENTS = 5
#: Maximum duration of a statement, in seconds: bounds how long a lost connection is waited for.
STATEMENT_TIMEOUT = 20.0
#: Channel of LISTEN and NOTIFY, and name of the connection that listens.
CHANNEL = "pipecd_changes"
#: Interval at which the listening connection is checked (seconds): the other side may be gone without a sign.
LISTEN_CHECK_INTERVAL = 15.0
#: Writes that are combined to one statement. Its text depends on their number, and is kept compiled.
MAX_COMBINED = 8
#: Classes of SQLSTATE. Data exception, and program limit exceeded: a value cannot be stored.
_VALUES = frozenset({"22", "54"})
_NOTIFY = "SELECT pg_notify($1, $2)"
#: Connection, login, database, transaction rollback (deadlock), resources, operator intervention (shutdown),
#: system error.
_OUTAGES = frozenset({"08", "28", "3D", "40", "53", "57", "58"})
#: Errors of other classes that end without a change of this program. The schema was migrated by another
#: replica: the statement is prepared again at the next attempt. After a failover, a server answers that still
#: is, or has become, a read-only standby. The user of the database has no right to its tables.
_PASSING = (
    asyncpg.InvalidCachedStatementError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InsufficientPrivilegeError,
)


class Backend:
    def __init__(self, url: sa.URL) -> None:
        self._url, self._compile = url, compiler(_DIALECT)
        self._combine = _combiner(self._compile)
        self._opening = asyncio.Lock()
        self._pool: Any = None
        self._turns = Turns(POOL_SIZE_OF_AGENTS, POOL_TIMEOUT)
        self._running: set[asyncio.Task[Any]] = set()
        #: Payload of this process's notifications, by which it ignores its own.
        self._name = uuid4().hex

    async def read(self, function: Callable[[Connection], T]) -> T:
        return await self._complete(lambda driver: self._execute(driver, function), lambda: None)

    async def write(self, function: Callable[[Connection], T], after: Callable[[], None]) -> T:
        async def run(driver: Any) -> T:
            transaction = _Transaction(driver, self._compile, self._combine)
            try:
                result: T = await greenlet_spawn(function, transaction)
            except BaseException:
                await transaction.undo()
                raise
            await transaction.commit()
            return result

        return await self._complete(run, after)

    async def listen(self, wake: Callable[[], None], clock: Clock) -> None:
        """Through a connection of its own, which a pooler of transactions must not hand to others.

        Behind such a pooler nothing arrives, and changes of other processes are found by polling.
        """
        with _only_temporary():
            await self._listen(wake, clock)

    async def _listen(self, wake: Callable[[], None], clock: Clock) -> None:
        closed = asyncio.Event()

        def on_notification(_connection: Any, _pid: int, _channel: str, payload: object) -> None:
            if payload != self._name:
                wake()

        driver = await asyncpg.connect(
            **_connection_arguments(self._url),
            timeout=POOL_TIMEOUT,
            command_timeout=POOL_TIMEOUT,
            server_settings={"application_name": CHANNEL},
        )
        try:
            driver.add_termination_listener(lambda _: closed.set())
            await driver.add_listener(CHANNEL, on_notification)
            wake()
            while True:
                await set_within(clock, closed, LISTEN_CHECK_INTERVAL)
                if closed.is_set():
                    return
                await driver.execute("SELECT 1")
        finally:
            driver.terminate()

    async def notify(self) -> None:
        with _only_temporary():
            await self._complete(lambda driver: driver.execute(_NOTIFY, CHANNEL, self._name), lambda: None)

    async def close(self) -> None:
        if self._running:
            await asyncio.wait(self._running)
        if self._pool is not None:
            await self._pool.close()

    async def _execute(self, driver: Any, function: Callable[[Connection], T]) -> T:
        result: T = await greenlet_spawn(function, _Connection(driver, self._compile))
        return result

    async def _complete(self, run: Callable[[Any], Awaitable[T]], after: Callable[[], None]) -> T:
        """Run a transaction to its end, even if the caller is cancelled; then call `after`."""

        async def complete() -> T:
            try:
                async with self._turns.taken():
                    driver = await self._acquire()
                    try:
                        return await run(driver)
                    finally:
                        await self._pool.release(driver)
            finally:
                after()

        task = asyncio.get_running_loop().create_task(complete())
        self._running.add(task)
        task.add_done_callback(self._remove)
        return await asyncio.shield(task)

    async def _acquire(self) -> Any:
        if self._pool is None:
            async with self._opening:
                self._pool = self._pool or await _create_pool(self._url)
        # A time limit costs as much as a statement; only one that has to wait needs it.
        idle = self._pool.get_idle_size() or self._pool.get_size() < POOL_SIZE
        return await self._pool.acquire(timeout=None if idle else POOL_TIMEOUT)

    def _remove(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        # Read, so that asyncio does not log the error of a transaction whose caller was cancelled.
        if not task.cancelled():
            task.exception()


class _Connection(Connection):
    """Statements wait for the server in a greenlet, so that a transaction is a plain function."""

    def __init__(self, driver: Any, compile: Compile) -> None:
        super().__init__(compile)
        self._driver = driver

    def _run(self, command: Command, values: Sequence[object]) -> Result:
        try:
            if command.make_row is None:
                status: str = await_only(self._driver.execute(command.text, *values))
                # Such as `UPDATE 1`.
                count = status.rpartition(" ")[2]
                return Result(rowcount=int(count) if count.isdigit() else 0)
            records = await_only(self._driver.fetch(command.text, *values))
        except asyncpg.IntegrityConstraintViolationError as error:
            raise ConstraintViolated(str(error)) from error
        return Result(rows=[command.make_row(record) for record in records])


class _Transaction(_Connection):
    """Begins with the first statement that changes or locks rows."""

    _begun: Any = None
    _finished = False

    def __init__(self, driver: Any, compile: Compile, combine: "_Combine") -> None:
        super().__init__(driver, compile)
        self._combine = combine

    async def commit(self) -> None:
        if self._begun is not None:
            await self._begun.commit()

    async def undo(self) -> None:
        if self._begun is not None:
            await self._begun.rollback()

    def finish(self, first: Write, rest: Sequence[Write] = ()) -> bool:
        if len(rest) >= MAX_COMBINED:
            return super().finish(first, rest)
        writes = (first, *rest)
        combined = self._combine(tuple([(write.statement, tuple(write.values)) for write in writes]))
        values = combined.values([write.values for write in writes])
        result = super()._run(combined.command, values)
        self._finished = True
        return bool(result.rows[0].count)

    def _run(self, command: Command, values: Sequence[object]) -> Result:
        assert not self._finished
        if self._begun is None and not command.reads:
            transaction = self._driver.transaction()
            await_only(transaction.start())
            self._begun = transaction
        return super()._run(command, values)


#: Statements of several writes, and the names of their parameters.
_Shapes = tuple[tuple[Any, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class _Combined:
    """The command for several writes. `sources`: for each of its values, the write that has it, and the name.

    A write of -1 stands for the constants of the command.
    """

    command: Command
    sources: Sequence[tuple[int, str]]

    def values(self, of_writes: Sequence[Mapping[str, object]]) -> list[object]:
        """In the order in which the driver needs them, given the values of each write."""
        mappings = (*of_writes, self.command.constants)
        return [mappings[number][name] for number, name in self.sources]


_Combine = Callable[[_Shapes], _Combined]


def _combiner(compile: Compile) -> _Combine:
    """A function that keeps its results: a process has some ten combinations of writes."""

    @lru_cache(MAX_COMPILED)
    def combine(shapes: _Shapes) -> _Combined:
        command = compile(_combined(shapes), None)
        sources = {
            _parameter(number, statement, name): (number, name)
            for number, (statement, names) in enumerate(shapes)
            for name in names
        }
        return _Combined(command, [sources.get(name, (-1, name)) for name in command.names])

    return combine


def _combined(shapes: _Shapes) -> "sa.Select[Any]":
    """One statement for several writes, given their statements and the names of their parameters.

    The parameters are named by `_parameter`. Its row has the number of rows of the first write.
    """
    values = [
        {
            name: sa.bindparam(_parameter(number, statement, name), type_=statement.table.c[name].type)
            for name in names
            if name in statement.table.c
        }
        for number, (statement, names) in enumerate(shapes)
    ]
    (first, _), *inserts = shapes
    written = first.values(values[0]).returning(sa.literal_column("1").label("one")).cte("written")
    query = sa.select(sa.func.count().label("count")).select_from(written)
    for number, (insert, _) in enumerate(inserts, start=1):
        row = sa.select(*values[number].values()).select_from(written)
        insert = sa.insert(insert.table).from_select(list(values[number]), row)
        query = query.add_cte(insert.cte(f"write_{number}"))
    return query


def _parameter(number: int, statement: Any, name: str) -> str:
    """Name of a parameter of the combined statement: that of a column is that of several writes."""
    return f"{number}_{name}" if name in statement.table.c else name


@contextmanager
def _only_temporary() -> Iterator[None]:
    """Raises Temporary for every error of the database: no notification is worth the end of a server."""
    try:
        yield
    except asyncpg.PostgresError as error:
        log.warning("database_notifications_unavailable", error=str(error))
        raise Temporary("the database passes no notifications on") from error


def _connection_arguments(url: sa.URL) -> dict[str, Any]:
    _, arguments = _DIALECT.create_connect_args(url)
    # SQLAlchemy's name of the option, for servers behind a pooler that does not support prepared statements.
    if (size := arguments.pop("prepared_statement_cache_size", None)) is not None:
        arguments["statement_cache_size"] = size
    return dict(arguments)


async def _create_pool(url: sa.URL) -> Any:
    return await asyncpg.create_pool(
        **_connection_arguments(url),
        min_size=0,
        max_size=POOL_SIZE,
        timeout=POOL_TIMEOUT,
        command_timeout=STATEMENT_TIMEOUT,
        reset=_keep_state,
    )


async def _keep_state(_: Any) -> None:
    """Transactions change no setting of a connection, so that nothing is reset: a round trip saved."""


def translate_error(error: BaseException, _: sa.URL) -> PipecdError | None:
    """None for an error that is not the database's. Only the log names the database."""
    if isinstance(error, asyncpg.PostgresError):
        state = (error.sqlstate or "")[:2]
        if state in _VALUES:
            log.info("value_rejected_by_database", error=str(error))
            return Refused("the database cannot store a value of the request: it is too long or malformed")
        if state not in _OUTAGES and not isinstance(error, _PASSING):
            return None
    elif not isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        return None
    log.warning("database_unavailable", error=str(error))
    return Temporary("the database does not respond")
