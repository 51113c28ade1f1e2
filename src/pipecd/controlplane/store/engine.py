"""Database connections: one engine for reads, one for writes; driver errors are translated to PipecdError."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from pipecd.controlplane.store import sqlite
from pipecd.errors import ConfigError, PipecdError, Refused, Temporary

log = structlog.get_logger()

#: Primary result codes of SQLite. BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, FULL, PROTOCOL: it may work later.
_SQLITE_OUTAGES = frozenset({5, 6, 7, 9, 10, 13, 15})
#: PERM, READONLY, CORRUPT, CANTOPEN, AUTH, NOTADB: an operator must act.
_SQLITE_UNUSABLE = frozenset({3, 8, 11, 14, 23, 26})
#: Classes of SQLSTATE. Data exception, and program limit exceeded: a value cannot be stored.
_SQLSTATES_OF_VALUES = frozenset({"22", "54"})
#: Connection, transaction rollback (deadlock), resources, operator intervention (shutdown), system error.
_SQLSTATES_OF_OUTAGES = frozenset({"08", "40", "53", "57", "58"})


class Database:
    """SQLite allows one writer at a time, so writers wait for a lock here instead of failing in SQLite."""

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self._cancellations = sqlite.DeferredCancellations()
        if self.sqlite:
            self._reader = sqlite.engine(self.url, "BEGIN", self._cancellations, pool_size=2)
            self._writer = sqlite.engine(self.url, "BEGIN IMMEDIATE", self._cancellations, pool_size=1)
            self._write_lock: AbstractAsyncContextManager[Any] = asyncio.Lock()
        else:
            pool: dict[str, Any] = {
                "pool_size": 8,
                "max_overflow": 0,
                "pool_timeout": 10,
                "pool_pre_ping": True,
            }
            self._reader = self._writer = create_async_engine(self.url, **pool)
            self._write_lock = nullcontext()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        with self._cancellations.raise_after(), _translate_errors(self.url):
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction. A violated constraint raises SQLAlchemy's IntegrityError.

        The transaction may be committed even if CancelledError is raised.
        """
        with self._cancellations.raise_after():
            async with self._write_lock:
                with _translate_errors(self.url):
                    async with self._writer.begin() as connection:
                        yield connection

    async def close(self) -> None:
        with self._cancellations.raise_after():
            await self._reader.dispose()
            await self._writer.dispose()


class _translate_errors:
    """Translates driver errors to PipecdError, except constraint violations: callers interpret those."""

    def __init__(self, url: sa.URL) -> None:
        self._url, self._sqlite = url, url.get_backend_name() == "sqlite"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, IntegrityError):
            return
        if isinstance(error, OSError | PoolTimeout):
            raise _outage(error) from error
        if isinstance(error, DBAPIError):
            translated = _sqlite_error(error, self._url) if self._sqlite else _postgresql_error(error)
            if translated:
                raise translated from error


def _sqlite_error(error: DBAPIError, url: sa.URL) -> PipecdError | None:
    """None if the statement is wrong, which is an error of this program."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is None:
        return _outage(error) if isinstance(error, OperationalError | InterfaceError) else None
    if (code & 0xFF) in _SQLITE_UNUSABLE:
        return ConfigError(
            f"the database {url.database} cannot be used: {error.orig}",
            remedy="restore it from a backup, or check its path and permissions",
        )
    # Unlike those of PostgreSQL, the messages of SQLite never name the database.
    return _outage(error, f": {error.orig}") if (code & 0xFF) in _SQLITE_OUTAGES else None


def _postgresql_error(error: DBAPIError) -> PipecdError | None:
    """None if the statement is wrong, which is an error of this program."""
    state = getattr(error.orig, "sqlstate", None) or ""
    if state[:2] in _SQLSTATES_OF_VALUES:
        log.info("value_rejected_by_database", error=str(error.orig))
        return Refused("the database cannot store a value of the request: it is too long or malformed")
    outage = isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated
    return _outage(error) if outage or state[:2] in _SQLSTATES_OF_OUTAGES else None


def _outage(error: Exception, reason: str = "") -> Temporary:
    # Only the log names the database: its path or host is not for the callers.
    log.warning("database_unavailable", error=str(getattr(error, "orig", None) or error))
    return Temporary(f"the database does not respond{reason}")
