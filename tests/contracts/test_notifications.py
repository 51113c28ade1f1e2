"""Change notices from one replica to another on PostgreSQL, without polling."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from pipecd.clock import SYSTEM_CLOCK
from pipecd.controlplane.settings import FeedSettings, StoreSettings
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.engine import Database
from pipecd.controlplane.store.feed import Change
from pipecd.controlplane.store.postgresql import CHANNEL
from pipecd.errors import Temporary
from tests.contracts.conftest import empty_database

#: Only a notification, or a connection that is set up again, causes a read.
SETTINGS = StoreSettings(feed=FeedSettings(poll_interval=3600.0, listen_retry_interval=0.01))
TERMINATE = sa.text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name = :name"
)


@asynccontextmanager
async def replica(url: str) -> AsyncIterator[Store]:
    store = await Store.open(url, settings=SETTINGS)
    reading = asyncio.create_task(store.feed.run())
    try:
        yield store
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
        await store.close()


async def wait_until_listening(changes: "asyncio.Queue[Change]", writer: Store) -> None:
    """Announce until a notice arrives: a replica that starts reads from the newest row on."""
    for number in range(1000):
        await writer.announce("ready", project_id="shop", id=str(number))
        with suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await changes.get()
                return
    raise AssertionError("the replica does not listen")


async def next_of(changes: "asyncio.Queue[Change]", kind: str) -> Change:
    async with asyncio.timeout(60):
        while (change := await changes.get()).kind != kind:
            pass
    return change


async def test_a_write_of_another_replica_is_noticed_without_polling(empty_postgres_url: str) -> None:
    async with replica(empty_postgres_url) as reader, replica(empty_postgres_url) as writer:
        with reader.feed.subscribe() as changes, writer.feed.subscribe() as back:
            await wait_until_listening(changes, writer)
            await wait_until_listening(back, reader)
            for number in range(20):
                await writer.announce("hello", project_id="shop", id=str(number))
                assert (await next_of(changes, "hello")).id == str(number)
            await reader.announce("answer", project_id="shop", id="1")
            assert (await next_of(back, "answer")).id == "1"


async def test_notices_missed_while_the_connection_was_lost_arrive_when_it_is_back(
    empty_postgres_url: str,
) -> None:
    engine = create_async_engine(empty_postgres_url, isolation_level="AUTOCOMMIT")
    async with replica(empty_postgres_url) as reader, replica(empty_postgres_url) as writer:
        with reader.feed.subscribe() as changes:
            await wait_until_listening(changes, writer)
            for number in range(3):
                async with engine.connect() as connection:
                    ended = (await connection.execute(TERMINATE, {"name": CHANNEL})).all()
                assert ended, "no connection listens"
                await writer.announce("missed", project_id="shop", id=str(number))
                assert (await next_of(changes, "missed")).id == str(number)
                await wait_until_listening(changes, writer)
    await engine.dispose()


async def test_a_database_that_refuses_to_notify_ends_no_server(postgres_url: str) -> None:
    """Here because it was dropped; a standby in recovery and a full queue are other reasons."""
    async with empty_database(postgres_url) as url:
        database = Database(url)
    with pytest.raises(Temporary):
        await database.notify()
    with pytest.raises(Temporary):
        await database.listen(lambda: None, SYSTEM_CLOCK)
    await database.close()
