"""Paths of a checkout, and programs that render them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipecd import process
from pipecd.errors import ConfigError, Temporary
from pipecd.model.stage import Source

#: Of one rendering (seconds, and bytes).
TIMEOUT = 300.0
MAX_OUTPUT = 32 * 1024 * 1024
_MAX_ERROR = 4000


def relative(path: Path, source: Source) -> str:
    """The path in the repository, for messages."""
    for root in (source.root, source.root.resolve()):
        if path.is_relative_to(root):
            return str(path.relative_to(root))
    return str(path)


def inside(source: Source, name: str, key: str) -> Path:
    """A file or directory of the repository. Raises ConfigError if it is outside, also by links."""
    path = (source.directory / name).resolve()
    if not path.is_relative_to(source.root.resolve()):
        raise ConfigError(
            f"{source.config.file}: {key}: {name!r} is outside the repository", remedy="use a file inside it"
        )
    return path


async def run(argv: Sequence[str | Path], source: Source, environment: Mapping[str, str], tool: str) -> str:
    """The output of a renderer in the application's directory. Raises ConfigError with its message."""
    try:
        output = await process.capture(
            argv, cwd=source.directory, env=environment, timeout=TIMEOUT, max_output=MAX_OUTPUT
        )
    except TimeoutError:
        raise Temporary(f"{tool} did not finish within {TIMEOUT:g} s") from None
    except ConfigError as error:
        raise ConfigError(f"{source.config.file}: {error.what}", remedy=error.remedy) from error
    if output.code:
        message = output.stderr[-_MAX_ERROR:].decode(errors="replace").strip()
        message = message.replace(str(source.root), "").removeprefix("Error: ")
        raise ConfigError(
            f"{source.config.file}: {tool} failed: {message or f'exit code {output.code}'}",
            remedy=f"run {tool} in the application's directory",
        )
    return output.stdout.decode(errors="replace")
