"""Starts the control plane from the command line: startup errors are one sentence with their location."""

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

from tests.controlplane.server_fixture import PASSWORD, PASSWORD_HASH, CallFailed, Console
from tests.ports import free_ports
from tests.programs import Completed, run_program, start_program

VALID_CONFIG = f"""apiVersion: pipecd.dev/v1beta1
kind: ControlPlane
spec:
  projects:
    - id: shop
      staticAdmin:
        username: hello
        passwordHash: {PASSWORD_HASH}
  datastore:
    type: SQLITE
    config: {{path: DB}}
  filestore:
    type: LOCAL
    config: {{path: FILES}}
"""


def start(folder: Path, text: str, *arguments: str, key: bytes = b"k" * 64) -> Completed:
    (folder / "key").write_bytes(key)
    (folder / "cp.yaml").write_text(text)
    return run_program([*command(folder), *arguments], folder, cwd=folder, timeout=300)


def command(folder: Path) -> list[str]:
    return [
        *("pipecd", "server", "--config-file=cp.yaml"),
        *(f"--encryption-key-file={folder / 'key'}", "--host=127.0.0.1", "--insecure-cookie"),
        *("--piped-api-port=0", "--http-port=0", "--admin-port=0"),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            VALID_CONFIG.replace("kind: ControlPlane", "kind: Piped"),
            "cp.yaml:2: kind: kind is Piped, not ControlPlane",
        ),
        (VALID_CONFIG.replace("SQLITE", "SQLITTE"), "cp.yaml:10: spec.datastore.type"),
        (
            VALID_CONFIG.replace("SQLITE", "MYSQL"),
            "cp.yaml:10: spec.datastore.type: MYSQL is not supported; use one of",
        ),
        (VALID_CONFIG.replace("    - id: shop", "    - id: shop\n    - id: shop"), "id shop is given twice"),
        (VALID_CONFIG.replace("datastore:", "datastor:"), "cp.yaml:9: spec.datastor"),
        (VALID_CONFIG + "  projects: []\n", "projects"),
        (VALID_CONFIG.replace("$argon2", "plain"), "pipecd hash-password"),
        (VALID_CONFIG.replace(PASSWORD_HASH, PASSWORD_HASH[:30]), "not a complete hash"),
        ("a: [", "cp.yaml:"),
        ("", "cp.yaml"),
    ],
)
def test_a_configuration_error_is_reported_with_its_location(
    tmp_path: Path, text: str, sentence: str
) -> None:
    completed = start(tmp_path, text)
    assert completed.returncode == 1
    assert sentence in completed.stderr, completed.stderr
    assert "Traceback" not in completed.stderr


def test_a_database_that_is_away_is_named(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    server = f"url: postgresql://postgres:secret@127.0.0.1:{port}, database: deliveries"
    postgresql = VALID_CONFIG.replace("SQLITE", "POSTGRESQL").replace("path: DB", server)
    away = start(tmp_path, postgresql)
    assert away.returncode == 1 and "Traceback" not in away.stderr
    assert f"the database deliveries of the PostgreSQL server 127.0.0.1:{port} cannot be used" in away.stderr
    assert "spec.datastore.config" in away.stderr and "Connect call failed" in away.stderr
    assert "secret" not in away.stderr


def test_a_short_key_a_missing_key_and_a_port_in_use_are_reported(tmp_path: Path) -> None:
    short = start(tmp_path, VALID_CONFIG, key=b"short")
    assert short.returncode == 1 and "openssl rand" in short.stderr
    missing = start(tmp_path, VALID_CONFIG, "--encryption-key-file=nowhere")
    assert missing.returncode == 1 and "nowhere cannot be read" in missing.stderr
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        for flag in ("--http-port", "--admin-port", "--piped-api-port"):
            completed = start(tmp_path, VALID_CONFIG, f"{flag}={port}")
            assert completed.returncode == 1, flag
            assert (
                f"127.0.0.1:{port}" in completed.stderr
                and "stop the process that uses the port" in completed.stderr
            ), completed.stderr
            assert "Traceback" not in completed.stderr


def test_a_file_that_is_not_a_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / "DB").write_bytes(b"this is no database " * 200)
    completed = start(tmp_path, VALID_CONFIG)
    assert completed.returncode == 1
    assert "DB cannot be used: file is not a database; restore it" in completed.stderr, completed.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_shuts_down_gracefully(tmp_path: Path, number: signal.Signals) -> None:
    (port,) = free_ports(1)
    (tmp_path / "key").write_bytes(b"k" * 64)
    (tmp_path / "cp.yaml").write_text(VALID_CONFIG)
    log = tmp_path / "log"
    program = start_program([*command(tmp_path), f"--admin-port={port}"], output=log, cwd=tmp_path)
    try:
        async with httpx.AsyncClient(verify=False) as http:
            deadline = time.monotonic() + 120
            while True:
                try:
                    responses = [await http.get(f"http://127.0.0.1:{port}/{page}") for page in PAGES]
                    break
                except httpx.TransportError:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.05)
        assert [response.status_code for response in responses] == [200, 200, 200]
        assert responses[0].text == "ok" and b"pipecd_rpc_calls" in responses[2].content
    finally:
        program.send_signal(number)
        code = await asyncio.to_thread(program.wait, 120)
    assert code == 0, log.read_text()


PAGES = ("healthz", "version", "metrics")


async def test_a_full_disk_is_reported_and_survived(tmp_path: Path) -> None:
    """Writes fail with an error message, reads still work, and no accepted write is lost.

    A file size limit simulates the full disk: both make the same write fail.
    """
    (port,) = free_ports(1)
    (tmp_path / "key").write_bytes(b"k" * 64)
    (tmp_path / "cp.yaml").write_text(VALID_CONFIG)
    limited = ["sh", "-c", 'ulimit -f 700; exec "$@"', "sh", sys.executable, "-m", *command(tmp_path)]
    limited += [f"--http-port={port}"]
    process = subprocess.Popen(limited, cwd=tmp_path, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    console = Console(f"http://127.0.0.1:{port}")
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                await console.sign_in(password=PASSWORD)
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
        accepted = []
        rejection = ""
        for number in range(400):
            try:
                accepted.append((await console.call("RegisterPiped", name=f"p{number}", desc="x" * 4000)).id)
            except CallFailed as error:
                rejection = str(error)
                break
        assert rejection.startswith("unavailable"), rejection
        assert "full" in rejection or "I/O" in rejection, rejection
        listed = {piped.id for piped in (await console.call("ListPipeds")).pipeds}
        assert set(accepted) <= listed
        assert process.poll() is None
    finally:
        await console.http.aclose()
        process.kill()
        await asyncio.to_thread(process.wait, 120)
