"""Runs the control plane and the agent as processes that tests can kill; SQLite, Git and files persist.

async with start_processes(tmp_path) as m:
    m.kill("agent")           # SIGKILL: nothing is cleaned up
    await m.start("agent")
"""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from pipecd.quickstart.git_server import GitServer
from tests.controlplane.server_fixture import (
    ENCRYPTION_KEY,
    PASSWORD_HASH,
    PROJECT,
    USER,
    CallFailed,
    Console,
)
from tests.eventually import eventually
from tests.ports import free_ports
from tests.programs import Program, start_program
from tests.repo import Clone
from tests.world import REPOSITORY, ConsoleUser, agent_spec

SERVER, AGENT = "server", "agent"
#: How long a call is retried while the control plane is down, in seconds.
RETRY_TIMEOUT = 240.0
#: The agent's grace period, in seconds.
GRACE_PERIOD = 180


class RetryingConsole(Console):
    """A console client that retries until the control plane is reachable."""

    async def call(self, method: str, **fields: Any) -> Any:
        until = time.monotonic() + RETRY_TIMEOUT
        while True:
            try:
                return await super().call(method, **fields)
            except httpx.TransportError:
                if time.monotonic() > until:
                    raise
            except CallFailed as error:
                if error.code != "unavailable" or time.monotonic() > until:
                    raise
            await asyncio.sleep(0.1)


@dataclass
class Processes(ConsoleUser):
    git: GitServer
    commands: Mapping[str, Sequence[str]]
    running: dict[str, Program] = field(default_factory=dict)
    #: The size of each log when its process was started, in bytes.
    log_offsets: dict[str, int] = field(default_factory=dict)

    def start(self, name: str, *, steps: int = 0) -> None:
        """Starts the program; with `steps`, it kills itself after so many steps of its event loop."""
        log = self.folder / f"{name}.log"
        self.log_offsets[name] = log.stat().st_size if log.exists() else 0
        self.running[name] = start_program(["pipecd", *self.commands[name]], output=log, steps=steps)

    def kill(self, name: str) -> None:
        """Kills the process with SIGKILL: it cleans up nothing."""
        self.running[name].kill()

    async def wait_for_agent(self) -> None:
        """Returns once the agent that was started last is running."""

        async def started() -> bool:
            log = self.folder / f"{AGENT}.log"
            return log.exists() and b"agent_started" in log.read_bytes()[self.log_offsets[AGENT] :]

        await eventually(started)

    async def stop_agent(self, within: float = GRACE_PERIOD + 60.0) -> int:
        """Sends SIGTERM once the agent is running (earlier it would exit at once); returns the exit code."""
        await self.wait_for_agent()
        process = self.running[AGENT]
        process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(process.wait, within)

    def lines(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")


@asynccontextmanager
async def start_processes(folder: Path, **spec: Any) -> AsyncIterator[Processes]:
    """`spec` is added to the agent's configuration. Both processes inherit the environment."""
    async with AsyncExitStack() as exit_stack:
        git = exit_stack.enter_context(GitServer(folder / "git"))
        clone = Clone(folder / "clone", git.url(REPOSITORY), bare=git.create(REPOSITORY))
        await asyncio.to_thread(clone.commit_and_push, "Begin", {"README.md": "a repository\n"})
        api, http = free_ports(2)
        console = RetryingConsole(f"http://127.0.0.1:{http}")
        await exit_stack.enter_async_context(console.http)
        write_configuration(folder, f"http://127.0.0.1:{http}")
        commands = {SERVER: server_arguments(folder, api, http), AGENT: _agent(folder)}
        processes = Processes(
            console=console, clone=clone, piped_id="", folder=folder, git=git, commands=commands
        )
        exit_stack.callback(_kill_all, processes.running)
        processes.start(SERVER)
        await _sign_in(console)
        registered = await console.call("RegisterPiped", name="home")
        processes.piped_id = registered.id
        key = folder / "piped.key"
        key.write_text(registered.key)
        document = agent_spec(
            f"127.0.0.1:{api}",
            registered.id,
            key,
            {REPOSITORY: git.url(REPOSITORY)},
            syncInterval="1s",
            **spec,
        )
        (folder / "piped.yaml").write_text(yaml.safe_dump(document))
        processes.start(AGENT)
        yield processes


def write_configuration(
    folder: Path,
    address: str,
    datastore: Mapping[str, Any] | None = None,
    filestore: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the control plane's configuration file and encryption key; returns the former.

    `address` is the URL of the console. By default, the database is a file of SQLite in `folder`, and the
    objects are in a directory of it.
    """
    sqlite = {"type": "SQLITE", "config": {"path": str(folder / "pipecd.db")}}
    document = {
        "apiVersion": "pipecd.dev/v1beta1",
        "kind": "ControlPlane",
        "spec": {
            "address": address,
            "datastore": datastore or sqlite,
            "filestore": filestore or {"type": "LOCAL", "config": {"path": str(folder / "objects")}},
            "projects": [
                {
                    "id": PROJECT,
                    "staticAdmin": {"username": USER, "passwordHash": PASSWORD_HASH},
                }
            ],
        },
    }
    file = folder / "control-plane.yaml"
    file.write_text(json.dumps(document))
    (folder / "encryption-key").write_bytes(ENCRYPTION_KEY)
    return file


def server_arguments(folder: Path, api: int, http: int) -> list[str]:
    """Arguments of `pipecd` for a control plane with the configuration in `folder`, at these ports."""
    return [
        "server",
        f"--config-file={folder / 'control-plane.yaml'}",
        f"--encryption-key-file={folder / 'encryption-key'}",
        "--host=127.0.0.1",
        f"--piped-api-port={api}",
        f"--http-port={http}",
        "--admin-port=0",
        "--insecure-cookie",
    ]


def _agent(folder: Path) -> list[str]:
    return [
        "piped",
        f"--config-file={folder / 'piped.yaml'}",
        "--insecure",
        "--admin-port=0",
        f"--home-dir={folder / 'agent'}",
        f"--grace-period={GRACE_PERIOD}s",
    ]


async def _sign_in(console: Console) -> None:
    until = time.monotonic() + RETRY_TIMEOUT
    while True:
        try:
            await console.sign_in()
            return
        except httpx.TransportError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.1)


def _kill_all(running: Mapping[str, Program]) -> None:
    for program in running.values():
        program.kill()
