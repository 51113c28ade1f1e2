"""Runs `pipectl` as people and CI do: the program itself, in a separate process."""

import asyncio
import itertools
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.controlplane.server_fixture import ControlPlane
from tests.eventually import eventually
from tests.programs import Program, start_program

REMOTE = "https://git.example/demo.git"
#: Until a command ends, in seconds.
TIMEOUT = 300.0


@dataclass(frozen=True)
class CompletedCommand:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class RunningCommand:
    """A command whose output is written to two files."""

    program: Program
    out: Path
    err: Path

    async def wait(self) -> CompletedCommand:
        try:
            code = await asyncio.to_thread(self.program.wait, TIMEOUT)
        finally:
            self.program.send_signal(signal.SIGKILL)
        return CompletedCommand(code, self.out.read_text(), self.err.read_text())

    async def output(self, *, lines: int) -> str:
        """Standard output, as soon as it has `lines` lines."""
        return await _read_lines(self.out, lines)

    async def errors(self, *, lines: int) -> str:
        """Standard error, as soon as it has `lines` lines."""
        return await _read_lines(self.err, lines)


async def _read_lines(file: Path, lines: int) -> str:
    async def read() -> str:
        text = file.read_text()
        return text if text.count("\n") >= lines else ""

    return await eventually(read, 90)


@dataclass
class Pipectl:
    plane: ControlPlane
    key_file: Path
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def __call__(
        self,
        *arguments: str,
        stdin: str | bytes = "",
        connected: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> CompletedCommand:
        return await self.start(*arguments, stdin=stdin, connected=connected, env=env).wait()

    def start(
        self,
        *arguments: str,
        stdin: str | bytes = "",
        connected: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> RunningCommand:
        """Start the command without waiting for its end."""
        connection = [f"--address={self.plane.address}", "--insecure", f"--api-key-file={self.key_file}"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PIPECD_")}
        # No configuration file of the person who runs the tests.
        environment["XDG_CONFIG_HOME"] = str(self.key_file.parent / "config")
        folder = self.key_file.parent / f"pipectl-{next(self._numbers)}"
        folder.mkdir()
        out, err, input_file = folder / "out", folder / "err", folder / "in"
        for file in (out, err):
            file.touch()
        input_file.write_bytes(stdin.encode() if isinstance(stdin, str) else stdin)
        program = start_program(
            ["pipectl", *arguments, *(connection if connected else ())],
            output=out,
            errors=err,
            stdin=input_file,
            env={**environment, **(env or {})},
        )
        return RunningCommand(program, out, err)


async def add_application(pipectl: Pipectl, piped_id: str, name: str = "shop", **more: str) -> str:
    result = await pipectl(
        *("application", "add", f"--app-name={name}", "--app-kind=TERRAFORM", f"--piped-id={piped_id}"),
        *("--platform-provider=terraform", "--repo-id=demo", f"--app-dir=apps/{name}"),
        *(f"--{flag}={value}" for flag, value in more.items()),
    )
    assert result.code == 0, result.err
    assert result.out.startswith("Successfully added application id = ")
    return result.out.strip().split(" = ")[1]
