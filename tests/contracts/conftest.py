"""Fixtures for every supported database; the contract tests run with each of them."""

import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from pipecd.controlplane.store import Store
from tests.contracts import postgres


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    if postgres.binary("initdb") is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed, but CI requires it")
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    with tempfile.TemporaryDirectory(prefix="pipecd-pg-") as folder, postgres.cluster(Path(folder)) as url:
        yield url


@asynccontextmanager
async def empty_database(server: str) -> AsyncIterator[str]:
    """URL of an empty database of the PostgreSQL server with a database at the URL `server`."""
    name = f"t{secrets.token_hex(8)}"
    url = sa.make_url(server)
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield url.set(database=name).render_as_string(hide_password=False)
    async with engine.connect() as connection:
        await connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    await engine.dispose()


@pytest.fixture
async def empty_postgres_url(postgres_url: str) -> AsyncIterator[str]:
    async with empty_database(postgres_url) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'pipecd.db'}"
    return str(request.getfixturevalue("empty_postgres_url"))


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await Store.open(url)
    yield opened
    await opened.close()
