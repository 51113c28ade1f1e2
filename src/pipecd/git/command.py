"""Runs `git` and maps its failures to PipecdError types."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipecd import process
from pipecd.errors import ConfigError, NotFound, PipecdError, Temporary
from pipecd.secrets import strip_credentials

#: Phrases in git's output, with the error type and remedy. The first match decides.
_ERRORS: Sequence[tuple[tuple[str, ...], type[PipecdError], str]] = (
    (
        (
            "Authentication failed",
            "could not read Username",
            "Permission denied (publickey",
            "error: 403",
            "error: 401",
        ),
        ConfigError,
        "the credentials were refused: check spec.git of the agent and the permissions of its key or token",
    ),
    (
        ("not found", "does not appear to be a git repository", "Repository not found", "does not exist"),
        ConfigError,
        "check the repository's remote: it does not exist, or these credentials have no access to it",
    ),
    (("No space left on device",), Temporary, "the disk is full: free some space"),
    (
        ("invalid object name", "bad object", "unknown revision", "Not a valid object name", "not a tree"),
        NotFound,
        "",
    ),
    (("couldn't find remote ref", "unadvertised object", "not our ref"), NotFound, ""),
    (("transport", "is not allowed"), ConfigError, "use an https or ssh remote"),
)


async def git(
    *arguments: str,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bytes = b"",
    timeout: float = 60.0,
) -> bytes:
    """Run `git` and return its standard output. `timeout` is in seconds.

    Raises ConfigError, NotFound or Temporary; a timeout is Temporary.
    """
    try:
        result = await process.capture(["git", *arguments], cwd=cwd, env=env, stdin=stdin, timeout=timeout)
    except TimeoutError as error:
        raise Temporary(f"git {_subcommand(arguments)} took longer than {timeout:g} s") from error
    if result.code != 0:
        raise error_from_output(_subcommand(arguments), result.stderr.decode(errors="replace"))
    return result.stdout


def _subcommand(arguments: Sequence[str]) -> str:
    """The first argument that is not a global option of `git`."""
    remaining = iter(arguments)
    for argument in remaining:
        if argument in ("--git-dir", "--work-tree"):
            next(remaining)
            continue
        return argument
    return ""


def error_from_output(subcommand: str, output: str) -> PipecdError:
    """The error for the output of a failed `git`; an unknown failure is Temporary."""
    output = strip_credentials(output).strip()
    lines = [line for line in output.splitlines() if line.startswith(("fatal:", "error:", "remote:"))]
    message = f"git {subcommand}: {' '.join(lines or output.splitlines()[-1:])}"
    for phrases, error_type, remedy in _ERRORS:
        if any(phrase in output for phrase in phrases):
            if issubclass(error_type, ConfigError):
                return ConfigError(message, remedy=remedy)
            return error_type(message)
    return Temporary(message)
