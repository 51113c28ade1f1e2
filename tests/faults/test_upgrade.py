"""During an upgrade, servers of the version before work on the schema of the new one, and start on it."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipecd.controlplane.store.migrations import versions
from tests.contracts.conftest import empty_postgres_url as empty_postgres_url
from tests.contracts.conftest import postgres_url as postgres_url
from tests.faults.deliveries import team, wait_for_server
from tests.faults.processes import server_arguments, write_configuration
from tests.ports import free_ports
from tests.programs import start_program

ROOT = Path(__file__).parents[2]


def version_before(folder: Path) -> Path:
    """The sources of the newest version without the newest migration, from the history of Git."""
    newest = sorted(Path(next(iter(versions.__path__))).glob("v*.py"))[-1].relative_to(ROOT)
    command = ["git", "log", "--diff-filter=A", "--format=%H %P", "-1", "--", str(newest)]
    history = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if len(history) < 2:
        # Some copies have none; the workflow of the repository fetches it.
        if os.environ.get("GITHUB_ACTIONS"):
            pytest.fail("the history of Git is missing, but the workflow requires it")
        pytest.skip("the history of Git is missing")
    archive = ["git", "archive", history[1], "src", "proto", "hatch_build.py"]
    with subprocess.Popen(archive, cwd=ROOT, stdout=subprocess.PIPE) as process:
        subprocess.run(["tar", "x", "-C", str(folder)], stdin=process.stdout, check=True)
    assert process.returncode == 0
    subprocess.run([sys.executable, "hatch_build.py"], cwd=folder, check=True, capture_output=True)
    return folder / "src"


@contextmanager
def former_server(source: Path, folder: Path, api: int, http: int) -> Iterator[None]:
    with (folder / "former.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipecd", *server_arguments(folder, api, http)],
            env={**os.environ, "PYTHONPATH": str(source)},
            cwd=folder,
            stdout=log,
            stderr=log,
        )
        try:
            yield
        finally:
            process.kill()
            process.wait()


@asynccontextmanager
async def new_server(folder: Path, api: int, http: int) -> AsyncIterator[None]:
    program = start_program(["pipecd", *server_arguments(folder, api, http)], output=folder / "new.log")
    try:
        await wait_for_server(http, program)
        yield
    finally:
        program.kill()


async def test_servers_of_two_versions_work_on_one_database(empty_postgres_url: str, tmp_path: Path) -> None:
    url = sa.make_url(empty_postgres_url)
    config = {"url": "postgresql://postgres@", "database": f"{url.database}?host={url.query['host']}"}
    write_configuration(tmp_path, "http://console.example", {"type": "POSTGRESQL", "config": config})
    (tmp_path / "former").mkdir()
    source = version_before(tmp_path / "former")
    former, new = free_ports(2), free_ports(2)
    with former_server(source, tmp_path, *former):
        await wait_for_server(former[1])
        async with team(former) as before:
            keys = before.keys
            await before.deliver("before")
            await before.check(["before"])
        async with new_server(tmp_path, *new), team(new, keys) as at_new, team(former, keys) as at_former:
            await at_new.check(["before"])
            await at_new.deliver("by-new")
            await at_former.deliver("by-former")
            for each in (at_new, at_former):
                await each.check(["before", "by-new", "by-former"])
            assert (await at_new.verify_audit()).head_position
