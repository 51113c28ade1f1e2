"""Runs Terraform in one checkout: init, workspace, plan, show, apply, every line into the stage's log."""

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipecd import process
from pipecd.errors import ConfigError, Refused, Temporary
from pipecd.model.stage import Source, StageLog, Work
from pipecd.platforms.terraform import binary
from pipecd.platforms.terraform.changes import Changes, changes
from pipecd.platforms.terraform.config import Input, Provider

#: How long Terraform may take to give back its lock once it was asked to stop (seconds).
GRACE = 60.0
#: How long a command waits for somebody else's lock of the state.
LOCK_TIMEOUT = "-lock-timeout=5m"
_PLAN_FILE = ".pipecd.tfplan"
#: A shared plug-in cache stands only one `init` at a time.
_one_init = asyncio.Lock()


class Checkout:
    """Terraform in `source`, as its application's file configures it."""

    def __init__(self, command: binary.Command, source: Source, provider: Provider, log: StageLog) -> None:
        self._command, self._source, self._provider, self._log = command, source, provider, log
        self._input: Input = source.config.spec.input

    @property
    def plan_file(self) -> Path:
        return self._source.directory / _PLAN_FILE

    async def prepare(self) -> None:
        """`init`, and the workspace. Raises Refused for a state that would be lost with the checkout."""
        flags = self._input.command_flags
        async with _one_init:
            await self._run(
                ["init", "-input=false", *flags.shared, *flags.init], self._input.command_envs.init, "init"
            )
        self._refuse_lost_state()
        if self._input.workspace:
            code = await self._lines(
                ["workspace", "select", self._input.workspace], self._input.command_envs.shared
            )
            if code:
                raise ConfigError(
                    f"workspace {self._input.workspace} cannot be selected",
                    remedy=f"make it with `terraform workspace new {self._input.workspace}`,"
                    " or correct spec.input.workspace",
                )

    async def plan(self) -> Changes:
        """Plans into `plan_file`, under the state's lock."""
        flags = self._input.command_flags
        arguments = ["plan", "-input=false", LOCK_TIMEOUT, "-detailed-exitcode", f"-out={_PLAN_FILE}"]
        code = await self._lines(
            [*arguments, *self._variables(), *flags.shared, *flags.plan], self._input.command_envs.plan
        )
        if code not in (0, 2):
            raise _failed("plan", code)
        return await self.shown()

    async def shown(self) -> Changes:
        """What the plan in `plan_file` says."""
        captured = await process.capture(
            [*self._command, "show", "-json", _PLAN_FILE],
            cwd=self._source.directory,
            env=self._environment(()),
            timeout=300.0,
        )
        if captured.code:
            raise _failed("show", captured.code)
        document: Mapping[str, Any] = json.loads(captured.stdout)
        return changes(document)

    async def apply(self) -> None:
        """Applies the plan in `plan_file`, which Terraform refuses once the state has moved."""
        flags = self._input.command_flags
        stale: list[str] = []

        def watch(line: str) -> None:
            if "plan is stale" in line or "does not match the given state" in line:
                stale.append(line)

        arguments = ["apply", "-input=false", LOCK_TIMEOUT, *flags.shared, *flags.apply, _PLAN_FILE]
        code = await self._lines(arguments, self._input.command_envs.apply, watch)
        if stale:
            raise Stale(
                "the world has changed since this plan was made, so it is not applied",
                remedy="sync the application again to get a new plan",
            )
        if code:
            raise _failed("apply", code)

    def _variables(self) -> list[str]:
        given = [f"-var={one}" for one in (*self._provider.vars, *self._input.vars)]
        return [*given, *(f"-var-file={name}" for name in self._input.var_files)]

    async def _run(self, arguments: Sequence[str], more: Sequence[str], name: str) -> None:
        if code := await self._lines(arguments, more):
            raise _failed(name, code)

    async def _lines(
        self, arguments: Sequence[str], more: Sequence[str], watch: process.OnLine = lambda line: None
    ) -> int:
        self._log.info(f"$ terraform {' '.join(_without_values(arguments))}")

        def line(text: str) -> None:
            watch(text)
            self._log.info(text)

        finished = await process.run(
            [*self._command, *arguments],
            on_line=line,
            cwd=self._source.directory,
            env=self._environment(more),
            grace=GRACE,
            stop_signal=signal.SIGINT,
        )
        return finished.code

    def _environment(self, more: Sequence[str]) -> dict[str, str]:
        own = [*self._input.command_envs.shared, *more]
        return {
            **os.environ,
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
            **dict(pair.split("=", 1) for pair in own),
        }

    def _refuse_lost_state(self) -> None:
        backend = _backend(self._source.directory)
        if backend.get("type", "local") != "local":
            return
        path = (backend.get("config") or {}).get("path") or "terraform.tfstate"
        place = (self._source.directory / path).resolve()
        if place.is_relative_to(self._source.root.resolve()) or not Path(path).is_absolute():
            raise Refused(
                f"Terraform's state would be kept in {path}, inside a checkout that is thrown away",
                remedy="configure a backend that lasts: s3, gcs, azurerm, or local with an absolute path",
            )


class Stale(Refused):
    """A saved plan that does not fit the state any more."""


async def checkout(work: Work[Any], source: Source) -> Checkout:
    """Terraform for `source`, initialised and in its workspace."""
    provider = work.provider or Provider()
    command = await binary.find(provider.binary, source.config.spec.input.terraform_version)
    work.log.info(f"Terraform {await binary.version_of(command)}")
    made = Checkout(command, source, provider, work.log)
    await made.prepare()
    return made


def _backend(directory: Path) -> Mapping[str, Any]:
    try:
        document = json.loads((directory / ".terraform" / "terraform.tfstate").read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        raise Temporary("Terraform's own notes of its backend are cut short") from None
    found: Mapping[str, Any] = document.get("backend") or {}
    return found


def _failed(name: str, code: int) -> ConfigError:
    return ConfigError(
        f"terraform {name} ended with code {code}", remedy="its last lines in the stage's log say why"
    )


def _without_values(arguments: Sequence[str]) -> list[str]:
    """Variables may be secrets."""
    shown = []
    for argument in arguments:
        name, equals, _ = argument.removeprefix("-var=").partition("=")
        shown.append(f"-var={name}{equals}…" if argument.startswith("-var=") else argument)
    return shown
