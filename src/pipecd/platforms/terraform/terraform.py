"""Runs Terraform for one application: init, workspace, plan, show, apply, every line into the stage's log.

Called by `stages`. It has its own data directory and shares nothing with other applications but the cache
of plug-ins; SIGINT stops it, so that it gives back the lock of its state.
"""

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipecd import process
from pipecd.errors import ConfigError, Temporary
from pipecd.model.stage import Source, StageLog, Work
from pipecd.platforms.terraform import binary, flags
from pipecd.platforms.terraform.changes import Changes, changes
from pipecd.platforms.terraform.config import Input, Provider
from pipecd.platforms.terraform.failure import LOGGED, Account
from pipecd.platforms.terraform.folder import Folder, turn
from pipecd.platforms.terraform.source import lost, place, var_files

#: How long Terraform may take to end what it is doing, once it was asked to stop (seconds).
GRACE = 300.0
#: How long a command waits for somebody else's lock of the state.
LOCK_TIMEOUT = "-lock-timeout=5m"
_SHOW_SECONDS = 300.0


class Terraform:
    """Terraform in `source`, as its application's file configures it."""

    def __init__(
        self,
        command: binary.Command,
        source: Source,
        provider: Provider,
        folder: Folder,
        log: StageLog,
        *,
        grace: float = GRACE,
        remedy: str = LOGGED,
    ) -> None:
        self._grace, self._remedy = grace, remedy
        self._command, self._source, self._provider, self._log = command, source, provider, log
        self._input: Input = source.config.spec.input
        self.folder = folder

    async def prepare(self) -> None:
        """`init`, and the workspace. Raises Refused for a state that would be lost with the checkout."""
        if self.folder.prepared:
            return
        version = await binary.version_of(self._command)
        self._log.info(f"Terraform {version}, at commit {self._source.commit[:12]}")
        await asyncio.to_thread(self.folder.note_files)
        async with turn(self.folder.plug_ins) as ours:
            cache = {"TF_PLUGIN_CACHE_DIR": str(self.folder.plug_ins)} if ours else {}
            environment = {**cache, **self._environment(self._input.command_envs.init)}
            given = [*self._variables(), *flags.for_init(self._input.command_flags)]
            await self._run("init", ["-input=false", *given], environment)
        if self._input.workspace:
            await self._select(self._input.workspace)
        self._refuse_lost_state()
        self.folder.note_prepared()

    async def plan(self) -> Changes:
        """Plans into the folder, under the state's lock."""
        return await self._planned(self.folder.plan, self._log.info)

    async def look(self) -> Changes:
        """What a plan would do that is made now. It is neither logged nor kept."""
        fresh = self.folder.plan.with_name("look")
        try:
            return await self._planned(fresh, _unsaid)
        finally:
            fresh.unlink(missing_ok=True)

    async def preview(self) -> tuple[Changes, str]:
        """What a plan would do that is made now, and how Terraform tells it. No lock, and nothing is kept."""
        fresh = self.folder.plan.with_name("preview")
        try:
            found = await self._planned(fresh, _unsaid, lock="-lock=false")
            return found, (await self._show("-no-color", str(fresh))).decode(errors="replace").strip()
        finally:
            fresh.unlink(missing_ok=True)

    async def state(self) -> bytes:
        """The state as it is recorded, secrets and all; empty before the first apply. Takes no lock."""
        if file := flags.state_file(self._input.command_flags):
            return await asyncio.to_thread(_content, self.folder.directory / file)
        return await self._captured("state pull")

    async def shown(self) -> Changes:
        """What the plan in the folder says."""
        return await self._read(self.folder.plan)

    async def apply(self) -> None:
        """Applies the plan in the folder. Raises Stale once the state has moved."""
        given = flags.for_apply(self._input.command_flags)
        arguments = ["-input=false", LOCK_TIMEOUT, *given, str(self.folder.plan)]
        await self._run("apply", arguments, self._environment(self._input.command_envs.apply))

    async def _planned(self, file: Path, say: process.OnLine, lock: str = LOCK_TIMEOUT) -> Changes:
        given = [*self._variables(), *flags.for_plan(self._input.command_flags)]
        arguments = ["-input=false", lock, "-detailed-exitcode", f"-out={file}", *given]
        environment = self._environment(self._input.command_envs.plan)
        await self._run("plan", arguments, environment, good=(0, 2), say=say)
        return await self._read(file)

    async def _read(self, file: Path) -> Changes:
        document: Mapping[str, Any] = json.loads(await self._show("-json", str(file)))
        return changes(document)

    async def _show(self, *arguments: str) -> bytes:
        return await self._captured("show", *arguments)

    async def _captured(self, command: str, *arguments: str) -> bytes:
        captured = await binary.captured(
            [*self._command, *command.split(), *arguments],
            cwd=self.folder.directory,
            env=self._environment(self._input.command_envs.plan),
            timeout=_SHOW_SECONDS,
        )
        if captured.code:
            account = Account(self._remedy)
            for line in captured.stderr.decode(errors="replace").splitlines():
                account.hear(line)
            raise account.error(command, captured.code)
        return captured.stdout

    async def _select(self, workspace: str) -> None:
        account = Account(self._remedy)
        arguments = ["workspace", "select", workspace]
        code, lines = await self._lines(arguments, self._environment(()), account, self._log.info)
        if not code:
            return
        if any("doesn't exist" in line for line in lines):
            raise ConfigError(
                f"there is no workspace {workspace}",
                remedy=f"make it with `terraform workspace new {workspace}`, or correct its name",
                place=place(self._source, "workspace"),
            )
        raise account.error("workspace select", code)

    async def _run(
        self,
        command: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        good: Sequence[int] = (0,),
        say: process.OnLine | None = None,
    ) -> None:
        account = Account(self._remedy)
        code, _ = await self._lines([command, *arguments], environment, account, say or self._log.info)
        if code not in good:
            raise account.error(command, code)

    async def _lines(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        account: Account,
        say: process.OnLine,
    ) -> tuple[int, Sequence[str]]:
        """The exit code and the last lines, once the command has ended. `say` gets each line as it comes."""
        say(f"$ terraform {flags.hidden(arguments)}")
        last: list[str] = []

        def line(text: str) -> None:
            last[:] = [*last[-9:], text]
            account.hear(text)
            say(text)

        finished = await process.run(
            [*self._command, *arguments],
            on_line=line,
            cwd=self.folder.directory,
            env=environment,
            grace=self._grace,
            stop_signal=signal.SIGINT,
        )
        return finished.code, last

    def _variables(self) -> list[str]:
        """The provider's before the application's, so that an application has the last word."""
        given = [f"-var={one}" for one in (*self._provider.vars, *self._input.vars)]
        return [*given, *(f"-var-file={name}" for name in var_files(self._source))]

    def _environment(self, more: Sequence[str]) -> dict[str, str]:
        given = [*self._input.command_envs.shared, *more]
        return {
            **os.environ,
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "CHECKPOINT_DISABLE": "1",
            **dict(pair.split("=", 1) for pair in given),
            "TF_DATA_DIR": str(self.folder.data),
            # Go believes PWD where it names the directory it runs in: the plan then holds the lasting path.
            "PWD": str(self.folder.directory),
        }

    def _refuse_lost_state(self) -> None:
        """After `init`, which knows the backend for certain."""
        backend = self._backend()
        everywhere = (*self._input.command_flags.shared, *self._input.command_flags.apply)
        if backend.get("type", "local") != "local" or any(
            flag.lstrip("-").startswith("state=/") for flag in everywhere
        ):
            return
        config = backend.get("config") or {}
        if self._input.workspace not in ("", "default"):
            self._refuse_unless_lasting(config.get("workspace_dir") or "terraform.tfstate.d")
        else:
            self._refuse_unless_lasting(config.get("path") or "terraform.tfstate")

    def _refuse_unless_lasting(self, path: str) -> None:
        directory, root = self.folder.directory, self._source.root.resolve()
        if not Path(path).is_absolute() or (directory / path).resolve().is_relative_to(root):
            raise lost(path, place(self._source))

    def _backend(self) -> Mapping[str, Any]:
        try:
            document = json.loads((self.folder.data / "terraform.tfstate").read_text())
        except FileNotFoundError:
            return {}
        except ValueError:
            raise Temporary("Terraform's own notes of its backend are cut short") from None
        found: Mapping[str, Any] = document.get("backend") or {}
        return found


def _content(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""


def _unsaid(line: str) -> None:
    """For a run that nobody needs to read."""


async def opened(work: Work[Any], source: Source) -> Terraform:
    """Terraform for `source`; nothing has run yet."""
    provider = work.provider or Provider()
    command = await binary.find(
        provider.binary, source.config.spec.input.terraform_version, lambda: place(source, "terraformVersion")
    )
    folder = await asyncio.to_thread(Folder, source, work.application.id)
    return Terraform(command, source, provider, folder, work.log)
