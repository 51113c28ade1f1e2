"""Runs Terraform for one application: init, workspace, plan, show, apply. Its output goes to the stage log.

Called by `stages`. Each application has its own data directory and shares only the plugin cache. Terraform is
stopped with SIGINT, so that it releases the lock of its state.
"""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipecd import process
from pipecd.errors import ConfigError, Refused, Temporary
from pipecd.json_input import decode_json
from pipecd.model.stage import Source, StageLog, Work
from pipecd.platforms.terraform import binary, flags
from pipecd.platforms.terraform.changes import Changes, parse_plan
from pipecd.platforms.terraform.config import Input, Provider
from pipecd.platforms.terraform.failure import SEE_STAGE_LOG, ErrorOutput
from pipecd.platforms.terraform.folder import Folder, lock_plugin_cache
from pipecd.platforms.terraform.source import input_place, lost_state_error, var_files

#: How long Terraform may take to finish its current operations after SIGINT (seconds).
GRACE_PERIOD = 300.0
#: How long a command waits for a state lock held by another process.
LOCK_TIMEOUT = "-lock-timeout=5m"
_SHOW_TIMEOUT = 300.0
NO_VARIABLES: Mapping[str, str] = {}


class Terraform:
    """Terraform in the checkout `source`, configured by the application's file."""

    def __init__(
        self,
        command: binary.Command,
        source: Source,
        provider: Provider,
        folder: Folder,
        log: StageLog,
        *,
        grace_period: float = GRACE_PERIOD,
        remedy: str = SEE_STAGE_LOG,
    ) -> None:
        self._grace_period, self._remedy = grace_period, remedy
        self._command, self._source, self._provider, self._log = command, source, provider, log
        self._input: Input = source.config.spec.input
        self.folder = folder

    async def prepare(self) -> None:
        """Runs `init` and selects the workspace. Raises Refused if the state would be lost."""
        if self.folder.prepared:
            return
        version = await binary.detect_version(self._command)
        self._log.info(f"Terraform {version}, at commit {self._source.commit[:12]}")
        await asyncio.to_thread(self.folder.record_files)
        async with lock_plugin_cache(self.folder.plugin_cache) as locked:
            cache = {"TF_PLUGIN_CACHE_DIR": str(self.folder.plugin_cache)} if locked else {}
            # Only `init` downloads modules, so that no other command gets the agent's credentials.
            downloads = {**self._source.download_env, **cache}
            environment = self._environment(self._input.command_envs.init, downloads)
            options = [*self._variables(), *flags.for_init(self._input.command_flags)]
            await self._run("init", ["-input=false", *options], environment)
        if self._input.workspace:
            await self._select_workspace(self._input.workspace)
        self._refuse_lost_state()
        self.folder.mark_prepared()

    async def plan(self) -> Changes:
        """Creates the plan file in the folder, holding the state lock."""
        return await self._plan_to_file(self.folder.plan, self._log.info)

    async def replan(self) -> Changes:
        """The changes of a new plan, which is neither logged nor stored."""
        file = self.folder.plan.with_name("replan")
        try:
            return await self._plan_to_file(file, _discard)
        finally:
            file.unlink(missing_ok=True)

    async def preview(self) -> tuple[Changes, str]:
        """The changes of a new plan, and Terraform's text of it. Takes no lock and stores nothing."""
        file = self.folder.plan.with_name("preview")
        try:
            changes = await self._plan_to_file(file, _discard, lock="-lock=false")
            return changes, (await self._show("-no-color", str(file))).decode(errors="replace").strip()
        finally:
            file.unlink(missing_ok=True)

    async def state(self) -> bytes:
        """The recorded state, including secrets; empty before the first apply. Takes no lock."""
        if file := flags.state_file(self._input.command_flags):
            return await asyncio.to_thread(_read_file, self.folder.directory / file)
        return await self._capture("state pull")

    async def read_plan(self) -> Changes:
        """The changes of the plan file in the folder."""
        return await self._parse_plan_file(self.folder.plan)

    async def apply(self) -> None:
        """Applies the plan file in the folder. Raises StalePlan if the state changed since."""
        options = flags.for_apply(self._input.command_flags)
        arguments = ["-input=false", LOCK_TIMEOUT, *options, str(self.folder.plan)]
        await self._run("apply", arguments, self._environment(self._input.command_envs.apply))

    async def _plan_to_file(self, file: Path, on_line: process.OnLine, lock: str = LOCK_TIMEOUT) -> Changes:
        options = [*self._variables(), *flags.for_plan(self._input.command_flags)]
        arguments = ["-input=false", lock, "-detailed-exitcode", f"-out={file}", *options]
        environment = self._environment(self._input.command_envs.plan)
        await self._run("plan", arguments, environment, success_codes=(0, 2), on_line=on_line)
        return await self._parse_plan_file(file)

    async def _parse_plan_file(self, file: Path) -> Changes:
        output = await self._show("-json", str(file))
        # In a thread: the plan of a large configuration has many megabytes.
        return await asyncio.to_thread(_parse_plan, output)

    async def _show(self, *arguments: str) -> bytes:
        return await self._capture("show", *arguments)

    async def _capture(self, command: str, *arguments: str) -> bytes:
        captured = await binary.capture(
            [*self._command, *command.split(), *arguments],
            cwd=self.folder.directory,
            env=self._environment(self._input.command_envs.plan),
            timeout=_SHOW_TIMEOUT,
        )
        if captured.code:
            errors = ErrorOutput(self._remedy)
            for line in captured.stderr.decode(errors="replace").splitlines():
                errors.add_line(line)
            raise errors.to_error(command, captured.code)
        return captured.stdout

    async def _select_workspace(self, workspace: str) -> None:
        errors = ErrorOutput(self._remedy)
        arguments = ["workspace", "select", workspace]
        code, lines = await self._run_logged(arguments, self._environment(()), errors, self._log.info)
        if not code:
            return
        if any("doesn't exist" in line for line in lines):
            raise ConfigError(
                f"the workspace {workspace} does not exist",
                remedy=f"create it with `terraform workspace new {workspace}`, or correct its name",
                place=input_place(self._source, "workspace"),
            )
        raise errors.to_error("workspace select", code)

    async def _run(
        self,
        command: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        success_codes: Sequence[int] = (0,),
        on_line: process.OnLine | None = None,
    ) -> None:
        errors = ErrorOutput(self._remedy)
        code, _ = await self._run_logged(
            [command, *arguments], environment, errors, on_line or self._log.info
        )
        if code not in success_codes:
            raise errors.to_error(command, code)

    async def _run_logged(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        errors: ErrorOutput,
        on_line: process.OnLine,
    ) -> tuple[int, Sequence[str]]:
        """The exit code and the last ten lines of a command. `on_line` receives each line when printed."""
        on_line(f"$ terraform {flags.redact_arguments(arguments)}")
        last_lines: list[str] = []

        def handle_line(text: str) -> None:
            last_lines[:] = [*last_lines[-9:], text]
            errors.add_line(text)
            on_line(text)

        result = await process.run(
            [*self._command, *arguments],
            on_line=handle_line,
            drain=self._log.drain,
            cwd=self.folder.directory,
            env=environment,
            grace=self._grace_period,
            stop_signal=signal.SIGINT,
        )
        return result.code, last_lines

    def _variables(self) -> list[str]:
        """The provider's variables before the application's, so that the application's take precedence."""
        variables = [f"-var={pair}" for pair in (*self._provider.vars, *self._input.vars)]
        return [*variables, *(f"-var-file={name}" for name in var_files(self._source))]

    def _environment(self, more: Sequence[str], defaults: Mapping[str, str] = NO_VARIABLES) -> dict[str, str]:
        """The variables of `commandEnvs` take precedence over `defaults`."""
        pairs = [*self._input.command_envs.shared, *more]
        return {
            **os.environ,
            **defaults,
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "CHECKPOINT_DISABLE": "1",
            **dict(pair.split("=", 1) for pair in pairs),
            "TF_DATA_DIR": str(self.folder.data),
            # Go trusts PWD if it names the working directory, so the plan contains the stable path.
            "PWD": str(self.folder.directory),
        }

    def _refuse_lost_state(self) -> None:
        """Runs after `init`, which determines the backend definitively."""
        backend = self._backend()
        all_flags = (*self._input.command_flags.shared, *self._input.command_flags.apply)
        if backend.get("type", "local") != "local" or any(
            flag.lstrip("-").startswith("state=/") for flag in all_flags
        ):
            return
        config = backend.get("config") or {}
        if self._input.workspace not in ("", "default"):
            self._refuse_temporary_path(config.get("workspace_dir") or "terraform.tfstate.d")
        else:
            self._refuse_temporary_path(config.get("path") or "terraform.tfstate")

    def _refuse_temporary_path(self, path: str) -> None:
        directory, root = self.folder.directory, self._source.root.resolve()
        if not Path(path).is_absolute() or (directory / path).resolve().is_relative_to(root):
            raise lost_state_error(path, input_place(self._source))

    def _backend(self) -> Mapping[str, Any]:
        try:
            document = decode_json((self.folder.data / "terraform.tfstate").read_text())
        except FileNotFoundError:
            return {}
        except ValueError:
            raise Temporary("Terraform's record of its backend is incomplete") from None
        backend: Mapping[str, Any] = document.get("backend") or {}
        return backend


def _parse_plan(output: bytes) -> Changes:
    try:
        document: Mapping[str, Any] = decode_json(output)
    except ValueError:
        # Without the decoder's message, which may quote the plan.
        raise Refused("terraform show did not print a plan in JSON", remedy="check the binary") from None
    return parse_plan(document)


def _read_file(file: Path) -> bytes:
    if not file.exists():
        return b""
    with file.open("rb") as opened:
        content = opened.read(process.MAX_OUTPUT + 1)
    if len(content) > process.MAX_OUTPUT:
        raise Refused(
            f"the state {file.name} has more than {process.MAX_OUTPUT >> 20} MiB", remedy="split the state"
        )
    return content


def _discard(line: str) -> None:
    """For a command whose output is not logged."""


async def open_terraform(work: Work[Any], source: Source) -> Terraform:
    """Terraform for `source`, before `prepare`."""
    provider = work.provider or Provider()
    command = await binary.find_command(
        provider.binary,
        source.config.spec.input.terraform_version,
        lambda: input_place(source, "terraformVersion"),
    )
    folder = await asyncio.to_thread(Folder, source, work.application.id)
    return Terraform(command, source, provider, folder, work.log)
