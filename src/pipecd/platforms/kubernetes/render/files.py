"""Paths of a checkout, and programs that render them."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipecd import process
from pipecd.errors import ConfigError, Temporary
from pipecd.model.stage import Source
from pipecd.platforms.kubernetes.metrics import TOOL_CALLS
from pipecd.platforms.kubernetes.render import tools
from pipecd.secrets import strip_credentials

#: Of one rendering (seconds, and bytes).
TIMEOUT = 300.0
MAX_OUTPUT = 32 * 1024 * 1024
_MAX_ERROR = 4000
#: What Helm, Kustomize and Git say when a server is away.
_UNREACHABLE = re.compile(
    r"connection (refused|reset|timed out)|no such host|could not resolve host|i/o timeout|handshake timeout"
    r"|network is unreachable|no route to host|unexpected EOF|deadline exceeded|too many requests"
    r"|\b(50[0234]|429)\b (internal|bad|service|gateway|too)|returned error: (50[0234]|429)",
    re.IGNORECASE,
)


def inside(source: Source, name: str, key: str) -> Path:
    """A file or directory of the repository. Raises ConfigError if it is outside, also by links."""
    path = Path(os.path.realpath(source.directory / name))
    if not path.is_relative_to(source.root.resolve()):
        raise ConfigError(
            f"{source.config.file}: {key}: {name!r} is outside the repository", remedy="use a file inside it"
        )
    return path


def written(source: Source, name: str) -> Path:
    """The path as it is written, with its links."""
    return Path(os.path.normpath(source.directory / name))


#: Programs by the beginning of their names, which may contain a version.
_TOOLS = ("helm", "kustomize", "kubectl")


async def run(
    argv: Sequence[str | Path],
    source: Source,
    environment: Mapping[str, str],
    tool: str,
    timeout: float = TIMEOUT,
    *,
    downloads: bool = False,
) -> str:
    """The output of a renderer in the application's directory. Raises ConfigError with its message.

    One that `downloads` raises Temporary if a server could not be reached.
    """
    program = Path(argv[0])
    name = next((known for known in _TOOLS if program.name.startswith(known)), program.name)
    labels = (name, tools.known_version(program), tool.partition(" ")[2])
    try:
        output = await process.capture(
            argv, cwd=source.directory, env=environment, timeout=timeout, max_output=MAX_OUTPUT
        )
    except TimeoutError:
        TOOL_CALLS.labels(*labels, "failure").inc()
        raise Temporary(f"{tool} did not finish within {timeout:g} s") from None
    except ConfigError as error:
        raise ConfigError(f"{source.config.file}: {error.what}", remedy=error.remedy) from error
    TOOL_CALLS.labels(*labels, "failure" if output.code else "success").inc()
    if output.code:
        # Of a failed download, Helm prints the reason among its progress.
        printed = output.stdout + output.stderr if downloads else output.stderr
        message = printed[-_MAX_ERROR:].decode(errors="replace").strip()
        message = strip_credentials(message).replace(str(source.root), "").removeprefix("Error: ")
        if downloads and _UNREACHABLE.search(message):
            raise Temporary(f"{tool} could not reach a server: {message}")
        raise ConfigError(
            f"{source.config.file}: {tool} failed: {message or f'exit code {output.code}'}",
            remedy=f"run {tool} in the application's directory",
        )
    return output.stdout.decode(errors="replace")
