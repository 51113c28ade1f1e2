"""Control plane and agent as processes, which can be killed like machines; SQLite, Git and files stay.

async with machines(tmp_path) as m:
    m.kill("agent")           # SIGKILL: nothing is cleaned up
    await m.start("agent")
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from pipecd.controlplane.auth.passwords import hash_password
from pipecd.quickstart.git_server import GitServer
from tests.controlplane.server_fixture import ENCRYPTION_KEY, PASSWORD, PROJECT, USER, CallFailed, Console
from tests.eventually import eventually
from tests.ports import free_ports
from tests.repo import Clone
from tests.world import REPOSITORY, Person, agent_spec

SERVER, AGENT = "server", "agent"
#: How long a call may wait for a control plane that was killed (seconds).
PATIENCE = 240.0
#: How long the agent has for its shutdown (seconds).
GRACE = 180


class PatientConsole(Console):
    """A browser that reloads until the control plane is back."""

    async def call(self, method: str, **fields: Any) -> Any:
        until = time.monotonic() + PATIENCE
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
class Machines(Person):
    git: GitServer
    commands: Mapping[str, Sequence[str]]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    #: What each log had when its process was started (bytes).
    logged_until: dict[str, int] = field(default_factory=dict)

    def start(self, name: str) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        with log:
            self.logged_until[name] = log.tell()
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "pipecd", *self.commands[name]],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """As when the power goes."""
        self.running[name].send_signal(signal.SIGKILL)
        self.running[name].wait(timeout=60)

    async def agent_at_work(self) -> None:
        """Return once the agent that was started last is at work."""

        async def look() -> bool:
            return b"agent started" in (self.folder / f"{AGENT}.log").read_bytes()[self.logged_until[AGENT] :]

        await eventually(look)

    async def stop_agent(self, within: float = GRACE + 60.0) -> int:
        """SIGTERM once it is at work (before that it would just die), and its exit code."""
        await self.agent_at_work()
        process = self.running[AGENT]
        process.terminate()
        return await asyncio.to_thread(process.wait, within)

    def lines(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")


@asynccontextmanager
async def machines(folder: Path, **spec: Any) -> AsyncIterator[Machines]:
    """`spec` goes into the agent's file. Both inherit the environment."""
    async with AsyncExitStack() as held:
        git = held.enter_context(GitServer(folder / "git"))
        git.create(REPOSITORY)
        clone = Clone(folder / "clone", git.url(REPOSITORY))
        await asyncio.to_thread(clone.commit_and_push, "Begin", {"README.md": "a repository\n"})
        api, http = free_ports(2)
        console = PatientConsole(f"http://127.0.0.1:{http}")
        await held.enter_async_context(console.http)
        commands = {SERVER: _server(folder, api, http), AGENT: _agent(folder)}
        made = Machines(console=console, clone=clone, piped_id="", folder=folder, git=git, commands=commands)
        held.callback(_kill_all, made.running)
        made.start(SERVER)
        await _signed_in(console)
        registered = await console.call("RegisterPiped", name="home")
        made.piped_id = registered.id
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
        made.start(AGENT)
        yield made


def _server(folder: Path, api: int, http: int) -> list[str]:
    document = {
        "apiVersion": "pipecd.dev/v1beta1",
        "kind": "ControlPlane",
        "spec": {
            "address": f"http://127.0.0.1:{http}",
            "datastore": {"type": "SQLITE", "config": {"path": str(folder / "pipecd.db")}},
            "filestore": {"type": "LOCAL", "config": {"path": str(folder / "objects")}},
            "projects": [
                {
                    "id": PROJECT,
                    "staticAdmin": {"username": USER, "passwordHash": hash_password(PASSWORD)},
                }
            ],
        },
    }
    (folder / "control-plane.yaml").write_text(json.dumps(document))
    (folder / "encryption-key").write_bytes(ENCRYPTION_KEY)
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
        f"--grace-period={GRACE}s",
    ]


async def _signed_in(console: Console) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            await console.sign_in()
            return
        except httpx.TransportError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.1)


def _kill_all(running: Mapping[str, subprocess.Popen[bytes]]) -> None:
    for process in running.values():
        process.kill()
        process.wait(timeout=60)
