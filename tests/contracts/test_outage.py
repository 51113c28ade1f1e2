"""A database that is killed and comes back: calls say so, and work resumes by itself (invariant 17)."""

import subprocess
import tempfile
from pathlib import Path

import pytest

from pipecd.controlplane.store import Store
from pipecd.errors import Temporary
from pipecd.schema.model.piped_pb2 import Piped
from tests.contracts import postgres
from tests.eventually import eventually


async def test_a_killed_postgresql_is_waited_for(postgres_url: str) -> None:
    """The shared cluster only shows that there is one; this one is this test's to kill."""
    with tempfile.TemporaryDirectory(prefix="pipecd-pg-") as name, postgres.cluster(Path(name)) as url:
        store = await Store.open(url)
        await store.create(Piped(id="before", project_id="shop", name="p"))
        postgres.crash(Path(name))
        with pytest.raises(Temporary, match=r"does not answer|was lost"):
            await store.get(Piped, "before")
        with pytest.raises(Temporary):
            await store.create(Piped(id="during", project_id="shop", name="p"))
        with pytest.raises(Temporary):
            await store.healthy()
        postgres.restart(Path(name))

        async def back() -> bool:
            try:
                return (await store.get(Piped, "before")).version == 1
            except Temporary as error:
                raise AssertionError(error) from error

        assert await eventually(back)
        await store.create(Piped(id="after", project_id="shop", name="p"))
        await store.close()


async def test_the_cluster_is_gone_afterwards(postgres_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="pipecd-pg-") as name:
        with postgres.cluster(Path(name)):
            pass

        async def gone() -> bool:
            """Its first process gives up its file a moment before it ends."""
            left = subprocess.run(["pgrep", "-f", name], capture_output=True, text=True, check=False)
            assert left.stdout == ""
            return True

        await eventually(gone)
