"""Database connections: one engine for reads, one for writes; driver errors are translated to PipecdError."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from pipecd.controlplane.store import sqlite
from pipecd.errors import ConfigError, Temporary


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
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, IntegrityError):
            return
        database = self._url.database or str(self._url.host)
        text = str(getattr(error, "orig", None) or error)
        if any(word in text for word in ("not a database", "malformed", "readonly", "unable to open")):
            raise ConfigError(
                f"the database {database} cannot be used: {text}",
                remedy="restore it from a backup, or check its path and permissions",
            ) from error
        if isinstance(error, OperationalError | InterfaceError | PoolTimeout | OSError):
            raise Temporary(f"the database {database} does not respond: {text}") from error
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            raise Temporary(f"the connection to the database {database} was lost") from error
