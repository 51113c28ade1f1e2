"""Running `git`, and its failures in our words."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipecd import process
from pipecd.errors import ConfigError, NotFound, PipecdError, Temporary
from pipecd.secrets import without_login

#: Words of git's, and what they mean. The first that is found decides.
_MEANINGS: Sequence[tuple[tuple[str, ...], type[PipecdError], str]] = (
    (
        (
            "Authentication failed",
            "could not read Username",
            "Permission denied (publickey",
            "error: 403",
            "error: 401",
        ),
        ConfigError,
        "the credentials were refused: look at spec.git of the agent and at the rights of its key or token",
    ),
    (
        ("not found", "does not appear to be a git repository", "Repository not found", "does not exist"),
        ConfigError,
        "look at the repository's remote: it does not exist, or these credentials may not see it",
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
    """Standard output. Raises ConfigError, NotFound or Temporary; a time-out is Temporary."""
    try:
        done = await process.capture(["git", *arguments], cwd=cwd, env=env, stdin=stdin, timeout=timeout)
    except TimeoutError as error:
        raise Temporary(f"git {_verb(arguments)} took longer than {timeout:g} s") from error
    if done.code != 0:
        raise failure(_verb(arguments), done.stderr.decode(errors="replace"))
    return done.stdout


def _verb(arguments: Sequence[str]) -> str:
    """The first word that is no option of `git` itself."""
    words = iter(arguments)
    for word in words:
        if word in ("--git-dir", "--work-tree"):
            next(words)
            continue
        return word
    return ""


def failure(verb: str, told: str) -> PipecdError:
    """The error for what `git` wrote; anything unknown is taken to pass."""
    told = without_login(told).strip()
    lines = [line for line in told.splitlines() if line.startswith(("fatal:", "error:", "remote:"))]
    text = f"git {verb}: {' '.join(lines or told.splitlines()[-1:])}"
    for words, kind, remedy in _MEANINGS:
        if any(word in told for word in words):
            return ConfigError(text, remedy=remedy) if issubclass(kind, ConfigError) else kind(text)
    return Temporary(text)
