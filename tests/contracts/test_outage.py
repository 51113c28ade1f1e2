"""A database that crashes and restarts: calls fail with Temporary, then work resumes (invariant 17)."""

import subprocess
import tempfile
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipecd.clock import SYSTEM_CLOCK
from pipecd.controlplane.settings import StoreSettings
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.engine import Database
from pipecd.errors import Temporary
from pipecd.schema.model.piped_pb2 import Piped
from tests.actors import TESTER
from tests.contracts import postgres
from tests.eventually import eventually


async def test_the_store_recovers_from_a_postgresql_crash(postgres_url: str) -> None:
    """`postgres_url` only ensures that PostgreSQL is installed; the test crashes a cluster of its own."""
    with tempfile.TemporaryDirectory(prefix="pipecd-pg-") as name, postgres.cluster(Path(name)) as url:
        store = await Store.open(url)
        await store.create(Piped(id="before", project_id="shop", name="p"), by=TESTER)
        postgres.crash(Path(name))
        with pytest.raises(Temporary, match=r"does not respond|was lost"):
            await store.get(Piped, "before")
        with pytest.raises(Temporary):
            await store.create(Piped(id="during", project_id="shop", name="p"), by=TESTER)
        with pytest.raises(Temporary):
            await store.check_health()
        postgres.restart(Path(name))

        async def recovered() -> bool:
            try:
                return (await store.get(Piped, "before")).version == 1
            except Temporary as error:
                raise AssertionError(error) from error

        assert await eventually(recovered)
        await store.create(Piped(id="after", project_id="shop", name="p"), by=TESTER)
        await store.close()


async def test_a_login_that_fails_at_the_start_has_its_reason(empty_postgres_url: str) -> None:
    url = sa.make_url(empty_postgres_url)
    for wrong, reason in (
        (url.set(database="nowhere"), 'database "nowhere" does not exist'),
        (url.set(username="unknown"), 'role "unknown" does not exist'),
    ):
        with pytest.raises(Temporary, match="PostgreSQL server") as failed:
            await Store.open(wrong.render_as_string(hide_password=False))
        assert reason in str(failed.value)


async def test_a_read_only_standby_is_waited_for(empty_postgres_url: str) -> None:
    """As after a failover: the server answers, and refuses to write."""
    store = await Store.open(empty_postgres_url)
    await store.create(Piped(id="before", project_id="shop", name="p"), by=TESTER)
    name = sa.make_url(empty_postgres_url).database
    await store.database.write(
        lambda connection: connection.execute(
            sa.text(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        )
    )
    await store.close()
    standby = Store(Database(empty_postgres_url), SYSTEM_CLOCK, StoreSettings())
    assert (await standby.get(Piped, "before")).version == 1
    with pytest.raises(Temporary):
        await standby.create(Piped(id="during", project_id="shop", name="p"), by=TESTER)
    with pytest.raises(Temporary):
        await standby.leases.acquire("replica/1", "1", 10)
    await standby.close()


async def test_the_cluster_is_stopped_afterwards(postgres_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="pipecd-pg-") as name:
        with postgres.cluster(Path(name)):
            pass

        async def no_process_left() -> bool:
            """The postmaster deletes its PID file shortly before it exits."""
            remaining = subprocess.run(["pgrep", "-f", name], capture_output=True, text=True, check=False)
            assert remaining.stdout == ""
            return True

        await eventually(no_process_left)
