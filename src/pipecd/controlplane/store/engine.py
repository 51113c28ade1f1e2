"""Executes transactions, and translates errors of the drivers to PipecdError. See `sqlite` and `postgresql`.

    rows = await database.rows(query, parameters)
    await database.write(lambda connection: connection.execute(statement), after)

A transaction is a function of a connection. It runs to its end even if its caller is cancelled meanwhile, and
is not begun if the caller is cancelled before. With SQLite it runs in another thread: it uses only the
connection and what is given to it, and returns values, not results that still read from the connection.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from pipecd.clock import Clock
from pipecd.controlplane.store.statements import Connection
from pipecd.errors import ConfigError, Place

T = TypeVar("T")


class Backend(Protocol):
    async def read(self, function: Callable[[Connection], T]) -> T: ...

    async def write(self, function: Callable[[Connection], T], after: Callable[[], None]) -> T: ...

    async def listen(self, wake: Callable[[], None], clock: Clock) -> None: ...

    async def notify(self) -> None: ...

    async def close(self) -> None: ...


class Database:
    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self._backend: Backend = _backend_module(self.url).Backend(self.url)

    async def read(self, function: Callable[[Connection], T]) -> T:
        """The result of `function`. Each of its statements sees what was committed before it."""
        with translate_errors(self.url):
            return await self._backend.read(function)

    async def rows(
        self, query: sa.Executable, parameters: Mapping[str, object] | None = None
    ) -> Sequence[Any]:
        """The rows of one query, as named tuples."""
        return await self.read(lambda connection: connection.execute(query, parameters).all())

    async def write(self, function: Callable[[Connection], T], after: Callable[[], None] = lambda: None) -> T:
        """The result of `function`, which runs in a transaction. Its exceptions undo the transaction.

        Then `after` is called on the event loop, before the caller continues. The transaction may be
        committed even if CancelledError is raised.
        """
        with translate_errors(self.url):
            return await self._backend.write(function, after)

    async def listen(self, wake: Callable[[], None], clock: Clock) -> None:
        """Call `wake` when another process calls `notify`, until cancelled, or until the connection is lost.

        It is also called when the connection is set up, because notifications before that are lost.
        """
        with translate_errors(self.url):
            await self._backend.listen(wake, clock)

    async def notify(self) -> None:
        """Wake the other processes that listen. Does nothing with SQLite, whose users poll."""
        with translate_errors(self.url):
            await self._backend.notify()

    async def close(self) -> None:
        """Complete the transactions that have begun, and close the connections."""
        await self._backend.close()


@contextmanager
def translate_errors(url: sa.URL) -> Iterator[None]:
    """Translates errors of the driver to PipecdError, also those that SQLAlchemy has wrapped.

    A violated constraint, which callers interpret, and a wrong statement, which is an error of this program,
    are raised as they are.
    """
    try:
        yield
    except Exception as error:
        wrapped = getattr(error, "orig", None)
        cause = error if wrapped is None else wrapped.__cause__ or wrapped
        translated = _backend_module(url).translate_error(cause, url)
        if translated is None:
            raise
        raise translated from cause


def describe_server(url: sa.URL) -> str:
    """Which database it is, without its credentials, for an operator."""
    if url.get_backend_name() == "sqlite":
        return f"the database {url.database}"
    host = url.host or url.query.get("host") or "localhost"
    return f"the database {url.database} of the PostgreSQL server {host}:{url.port or 5432}"


def _backend_module(url: sa.URL) -> ModuleType:
    """Imported when it is used: asyncpg is an extra. Raises ConfigError if it is not installed."""
    try:
        return import_module(f"pipecd.controlplane.store.{url.get_backend_name()}")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"POSTGRESQL needs a package that is not installed: {error}",
            remedy="install pipecd with the extra postgres: pip install 'pipecd[postgres]'",
            place=Place(key="spec.datastore.type"),
        ) from error
