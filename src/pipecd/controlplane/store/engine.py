"""The connection to the database: one engine to read with, one to write with, and errors in our words."""

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
    """SQLite takes one writer at a time, so writers queue here instead of failing there."""

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self._cancellations = sqlite.Cancellations()
        if self.sqlite:
            self._reader = sqlite.engine(self.url, "BEGIN", self._cancellations, pool_size=2)
            self._writer = sqlite.engine(self.url, "BEGIN IMMEDIATE", self._cancellations, pool_size=1)
            self._turn: AbstractAsyncContextManager[Any] = asyncio.Lock()
        else:
            pool: dict[str, Any] = {
                "pool_size": 8,
                "max_overflow": 0,
                "pool_timeout": 10,
                "pool_pre_ping": True,
            }
            self._reader = self._writer = create_async_engine(self.url, **pool)
            self._turn = nullcontext()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        with self._cancellations.last(), _our_words(self.url):
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction. A broken constraint rises as SQLAlchemy's IntegrityError.

        What was written may stand although CancelledError rises.
        """
        with self._cancellations.last():
            async with self._turn:
                with _our_words(self.url):
                    async with self._writer.begin() as connection:
                        yield connection

    async def close(self) -> None:
        with self._cancellations.last():
            await self._reader.dispose()
            await self._writer.dispose()


class _our_words:
    """Puts the driver's errors into our words, but for broken constraints: the caller knows their meaning."""

    def __init__(self, url: sa.URL) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, IntegrityError):
            return
        place = self._url.database or str(self._url.host)
        text = str(getattr(error, "orig", None) or error)
        if any(word in text for word in ("not a database", "malformed", "readonly", "unable to open")):
            raise ConfigError(
                f"the database {place} cannot be used: {text}",
                remedy="restore it from a backup, or check its path and rights",
            ) from error
        if isinstance(error, OperationalError | InterfaceError | PoolTimeout | OSError):
            raise Temporary(f"the database {place} does not answer: {text}") from error
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            raise Temporary(f"the connection to the database {place} was lost") from error
