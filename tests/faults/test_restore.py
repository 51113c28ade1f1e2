"""Stores are restored by the commands of docs/guide/operating.md, and a server runs on them."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.aws import REGION, Aws, emulated_aws
from tests.contracts import postgres
from tests.contracts.conftest import empty_database
from tests.contracts.conftest import postgres_url as postgres_url
from tests.contracts.test_blobs import s3_config
from tests.controlplane.server_fixture import CallFailed, Console
from tests.faults.deliveries import team, wait_for_server
from tests.faults.processes import server_arguments, write_configuration
from tests.ports import free_ports
from tests.programs import start_program

GUIDE = Path(__file__).parents[2] / "docs/guide/operating.md"


@dataclass(frozen=True, kw_only=True)
class Stores:
    """`names`: what the guide's commands are about → what they are about in the test."""

    datastore: Mapping[str, Any]
    filestore: Mapping[str, Any]
    names: Mapping[str, str]


def commands(heading: str) -> tuple[str, str]:
    """Those of the guide that back up, and those that restore."""
    section = re.split(r"^###? ", GUIDE.read_text().partition(f"### {heading}\n")[2], flags=re.MULTILINE)[0]
    back_up, restore = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return back_up, restore


async def run(text: str, stores: Stores, folder: Path, environment: Mapping[str, str]) -> None:
    for name, value in stores.names.items():
        assert name in text
        text = text.replace(name, value)
    run = await asyncio.to_thread(
        subprocess.run,
        ["sh", "-eu", "-c", text],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@asynccontextmanager
async def server(folder: Path, stores: Stores, api: int, http: int) -> AsyncIterator[None]:
    folder.mkdir(exist_ok=True)
    write_configuration(folder, f"http://127.0.0.1:{http}", stores.datastore, stores.filestore)
    program = start_program(["pipecd", *server_arguments(folder, api, http)], output=folder / "log")
    try:
        await wait_for_server(http, program)
        yield
    finally:
        program.kill()


async def check_restored(
    heading: str, stores: Sequence[Stores], folder: Path, environment: Mapping[str, str]
) -> None:
    old, new = stores
    back_up, restore = commands(heading)
    backup = folder / "backup"
    backup.mkdir()
    ports = free_ports(2)
    async with server(folder / "old", old, *ports), team(ports) as before:
        await before.deliver("before")
        head = await before.verify_audit()
        await run(back_up, old, backup, environment)
        await before.deliver("too-late")
    ports = free_ports(2)
    await run(restore, new, backup, environment)
    async with server(folder / "new", new, *ports), team(ports, before.keys) as after:
        await after.check(["before"])
        with pytest.raises(CallFailed, match="does not exist"):
            await after.console.call("GetDeployment", deployment_id="too-late")
        earlier = Console(after.console.base)
        earlier.http.cookies.set("token", before.console.http.cookies["token"])
        async with earlier.http:
            await earlier.call("GetMe")
        await after.deliver("after")
        await after.check(["before", "after"])
        await after.verify_audit(known_position=head.head_position, known_hash=head.head_hash)


def postgresql(url: str) -> tuple[Mapping[str, Any], str]:
    """The configuration, and the address for PostgreSQL's own programs."""
    parsed = sa.make_url(url)
    name = f"{parsed.database}?host={parsed.query['host']}"
    config = {"url": "postgresql://postgres@", "database": name}
    return {"type": "POSTGRESQL", "config": config}, f"postgresql://postgres@/{name}"


async def test_postgresql_and_a_bucket_are_restored(postgres_url: str, tmp_path: Path) -> None:
    if shutil.which("aws") is None:
        pytest.skip("the AWS CLI is not installed")
    async with AsyncExitStack() as stack:
        account: Aws = stack.enter_context(emulated_aws())
        stores = []
        for bucket in ("old", "new"):
            location = {"LocationConstraint": REGION}
            account.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
            datastore, address = postgresql(await stack.enter_async_context(empty_database(postgres_url)))
            names = {
                "postgresql://pipecd@db.example.com/pipecd": address,
                "s3://example-pipecd": f"s3://{bucket}",
            }
            filestore = {"type": "S3", "config": {**s3_config(tmp_path, account.url), "bucket": bucket}}
            stores.append(Stores(datastore=datastore, filestore=filestore, names=names))
        folder = str((postgres.binary("pg_dump") or Path()).parent)
        environment = {
            **account.environment(),
            "AWS_DEFAULT_REGION": REGION,
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        }
        await check_restored("PostgreSQL and a bucket", stores, tmp_path, environment)


async def test_sqlite_and_a_directory_are_restored(tmp_path: Path) -> None:
    if shutil.which("sqlite3") is None:
        if os.environ.get("CI"):
            pytest.fail("sqlite3 is not installed, but CI requires it")
        pytest.skip("sqlite3 is not installed (Debian: apt install sqlite3)")
    stores = []
    for name in ("old-data", "new-data"):
        folder = tmp_path / name
        folder.mkdir()
        datastore = {"type": "SQLITE", "config": {"path": str(folder / "pipecd.db")}}
        filestore = {"type": "LOCAL", "config": {"path": str(folder / "objects")}}
        names = {"/var/lib/pipecd": str(folder)}
        stores.append(Stores(datastore=datastore, filestore=filestore, names=names))
    await check_restored("SQLite and a directory", stores, tmp_path, {})
