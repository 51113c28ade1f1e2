"""The control plane as its operator starts it: what is wrong is said in one sentence, with its place."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from pipecd.controlplane.auth.passwords import hash_password
from tests.ports import free_ports

GOOD = f"""apiVersion: pipecd.dev/v1beta1
kind: ControlPlane
spec:
  projects:
    - id: shop
      staticAdmin:
        username: hello
        passwordHash: {hash_password("hello hello")}
  datastore:
    type: SQLITE
    config: {{path: DB}}
  filestore:
    type: LOCAL
    config: {{path: FILES}}
"""


def start(folder: Path, text: str, *more: str, key: bytes = b"k" * 64) -> subprocess.CompletedProcess[str]:
    (folder / "key").write_bytes(key)
    (folder / "cp.yaml").write_text(text)
    return subprocess.run(
        [*command(folder), *more], capture_output=True, text=True, timeout=300, check=False, cwd=folder
    )


def command(folder: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "pipecd", "server", "--config-file=cp.yaml"),
        *(f"--encryption-key-file={folder / 'key'}", "--host=127.0.0.1", "--insecure-cookie"),
        *("--piped-api-port=0", "--http-port=0", "--admin-port=0"),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            GOOD.replace("kind: ControlPlane", "kind: Piped"),
            "cp.yaml:2: kind: kind is Piped, not ControlPlane",
        ),
        (GOOD.replace("SQLITE", "SQLITTE"), "cp.yaml:10: spec.datastore.type"),
        (
            GOOD.replace("SQLITE", "MYSQL"),
            "cp.yaml:10: spec.datastore.type: MYSQL is not supported; use one of",
        ),
        (GOOD.replace("    - id: shop", "    - id: shop\n    - id: shop"), "id shop is given twice"),
        (GOOD.replace("datastore:", "datastor:"), "cp.yaml:9: spec.datastor"),
        (GOOD + "  projects: []\n", "projects"),
        (GOOD.replace("$argon2", "plain"), "pipecd hash-password"),
        ("a: [", "cp.yaml:"),
        ("", "cp.yaml"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    done = start(tmp_path, text)
    assert done.returncode == 1
    assert sentence in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_a_short_key_a_missing_one_and_a_taken_port_are_named(tmp_path: Path) -> None:
    short = start(tmp_path, GOOD, key=b"short")
    assert short.returncode == 1 and "openssl rand" in short.stderr
    missing = start(tmp_path, GOOD, "--encryption-key-file=nowhere")
    assert missing.returncode == 1 and "nowhere cannot be read" in missing.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for flag in ("--http-port", "--admin-port", "--piped-api-port"):
            done = start(tmp_path, GOOD, f"{flag}={port}")
            assert done.returncode == 1, flag
            assert f"127.0.0.1:{port}" in done.stderr and "stop what uses the port" in done.stderr, (
                done.stderr
            )
            assert "Traceback" not in done.stderr


def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "DB").write_bytes(b"this is no database " * 200)
    done = start(tmp_path, GOOD)
    assert done.returncode == 1
    assert "DB cannot be used: file is not a database; restore it" in done.stderr, done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    (port,) = free_ports(1)
    (tmp_path / "key").write_bytes(b"k" * 64)
    (tmp_path / "cp.yaml").write_text(GOOD)
    process = subprocess.Popen([*command(tmp_path), f"--admin-port={port}"], cwd=tmp_path)
    try:
        async with httpx.AsyncClient() as http:
            until = time.monotonic() + 120
            while True:
                try:
                    answers = [await http.get(f"http://127.0.0.1:{port}/{one}") for one in PAGES]
                    break
                except httpx.TransportError:
                    assert time.monotonic() < until
                    await asyncio.sleep(0.05)
        assert [one.status_code for one in answers] == [200, 200, 200]
        assert answers[0].text == "ok" and b"pipecd_rpc_calls" in answers[2].content
    finally:
        process.send_signal(number)
        code = await asyncio.to_thread(process.wait, 120)
    assert code == 0


PAGES = ("healthz", "version", "metrics")


async def test_a_full_disk_is_said_and_survived(tmp_path: Path) -> None:
    """Writes fail with their sentence, reads go on, and nothing that was accepted is lost.

    A limit on the size of files stands in for the disk: both make the same write fail.
    """
    from tests.controlplane.server_fixture import CallFailed, Console

    (port,) = free_ports(1)
    (tmp_path / "key").write_bytes(b"k" * 64)
    (tmp_path / "cp.yaml").write_text(GOOD)
    limited = ["sh", "-c", 'ulimit -f 700; exec "$@"', "sh", *command(tmp_path), f"--http-port={port}"]
    process = subprocess.Popen(limited, cwd=tmp_path, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    console = Console(f"http://127.0.0.1:{port}")
    try:
        until = time.monotonic() + 120
        while True:
            try:
                await console.sign_in(password="hello hello")
                break
            except httpx.TransportError:
                assert time.monotonic() < until
                await asyncio.sleep(0.05)
        accepted = []
        refused = ""
        for number in range(400):
            try:
                accepted.append((await console.call("RegisterPiped", name=f"p{number}", desc="x" * 4000)).id)
            except CallFailed as error:
                refused = str(error)
                break
        assert refused.startswith("unavailable"), refused
        assert "full" in refused or "I/O" in refused, refused
        listed = {one.id for one in (await console.call("ListPipeds")).pipeds}
        assert set(accepted) <= listed
        assert process.poll() is None
    finally:
        await console.http.aclose()
        process.kill()
        await asyncio.to_thread(process.wait, 120)
