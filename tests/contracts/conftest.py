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
from tests.contracts.migrated import create_postgres_template, create_sqlite_database


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    if postgres.binary("initdb") is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed, but CI requires it")
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    with tempfile.TemporaryDirectory(prefix="pipecd-pg-") as folder, postgres.cluster(Path(folder)) as url:
        yield url


@asynccontextmanager
async def empty_database(server: str, template: str = "template1") -> AsyncIterator[str]:
    """URL of an empty database of the PostgreSQL server with a database at the URL `server`.

    With `template`, it is a copy of that database.
    """
    name = f"t{secrets.token_hex(8)}"
    url = sa.make_url(server)
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield url.set(database=name).render_as_string(hide_password=False)
    async with engine.connect() as connection:
        await connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    await engine.dispose()


@pytest.fixture
async def empty_postgres_url(postgres_url: str) -> AsyncIterator[str]:
    async with empty_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_postgres(postgres_url: str) -> str:
    """Name of a database that has the current schema; nothing is connected to it."""
    return create_postgres_template(postgres_url)


@pytest.fixture
async def migrated_postgres_url(postgres_url: str, migrated_postgres: str) -> AsyncIterator[str]:
    async with empty_database(postgres_url, migrated_postgres) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database with the current schema and without records."""
    if request.param == "sqlite":
        file = tmp_path / "pipecd.db"
        create_sqlite_database(file)
        return f"sqlite:///{file}"
    return str(request.getfixturevalue("migrated_postgres_url"))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'pipecd.db'}"
    return str(request.getfixturevalue("empty_postgres_url"))


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await Store.open(url)
    yield opened
    await opened.close()
