"""Runs `pipectl` as people and CI do: the program itself, in a separate process."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.controlplane.server_fixture import ControlPlane

REMOTE = "https://git.example/demo.git"


@dataclass(frozen=True)
class CompletedCommand:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Pipectl:
    plane: ControlPlane
    key_file: Path

    async def __call__(
        self,
        *arguments: str,
        stdin: str | bytes = "",
        connected: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> CompletedCommand:
        process = await self.start(*arguments, connected=connected, env=env)
        input_bytes = stdin.encode() if isinstance(stdin, str) else stdin
        out, err = await asyncio.wait_for(process.communicate(input_bytes), 300)
        return CompletedCommand(process.returncode or 0, out.decode(), err.decode())

    async def start(
        self, *arguments: str, connected: bool = True, env: Mapping[str, str] | None = None
    ) -> Process:
        """Start the process without waiting for its end."""
        connection = [f"--address={self.plane.address}", "--insecure", f"--api-key-file={self.key_file}"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PIPECD_")}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pipecd", "pipectl", *arguments, *(connection if connected else ())),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env={**environment, **(env or {})},
        )


async def add_application(pipectl: Pipectl, piped_id: str, name: str = "shop", **more: str) -> str:
    result = await pipectl(
        *("application", "add", f"--app-name={name}", "--app-kind=TERRAFORM", f"--piped-id={piped_id}"),
        *("--platform-provider=terraform", "--repo-id=demo", f"--app-dir=apps/{name}"),
        *(f"--{flag}={value}" for flag, value in more.items()),
    )
    assert result.code == 0, result.err
    assert result.out.startswith("Successfully added application id = ")
    return result.out.strip().split(" = ")[1]
