"""Runs `git` and maps its failures to PipecdError types."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipecd import process
from pipecd.errors import ConfigError, NotFound, PipecdError, Refused, Temporary
from pipecd.remotes import host_name
from pipecd.secrets import strip_credentials

#: Phrases in the output of git and ssh, with the error type and remedy. The first match decides.
_ERRORS: Sequence[tuple[tuple[str, ...], type[PipecdError], str]] = (
    (
        ("REMOTE HOST IDENTIFICATION HAS CHANGED", "Host key for"),
        ConfigError,
        "the host's SSH key is not the known one: compare it with the one that the host publishes, and"
        " replace its line in the known_hosts file",
    ),
    (
        ("Host key verification failed",),
        ConfigError,
        "the host's SSH key is not known: add the key that the host publishes to the known_hosts file of the"
        " agent's user, or to the one that spec.git.sshConfigFilePath names",
    ),
    (
        ("invalid format", "error in libcrypto", "UNPROTECTED PRIVATE KEY FILE", "No such identity"),
        ConfigError,
        "the SSH key cannot be used: check spec.git.sshKeyFile or sshKeyData of the agent; it must be a"
        " private key without a passphrase",
    ),
    (
        (
            "Authentication failed",
            "could not read Username",
            "Permission denied (",
            "error: 403",
            "error: 401",
        ),
        ConfigError,
        "the credentials were refused: check spec.git of the agent and the permissions of its key or token",
    ),
    (
        ("Could not resolve proxy", "from proxy after CONNECT", "CONNECT tunnel failed"),
        Temporary,
        "check HTTPS_PROXY, ALL_PROXY and NO_PROXY of the agent",
    ),
    (
        ("Could not resolve host", "Name or service not known", "Temporary failure in name resolution"),
        Temporary,
        "check the host name of the remote, and the name server and proxy of the agent",
    ),
    (
        ("SSL certificate problem", "certificate verification failed", "certificate verify failed"),
        ConfigError,
        "the server's certificate is not trusted: set GIT_SSL_CAINFO of the agent to the file of its CA",
    ),
    (
        ("Connection refused", "Connection timed out", "Failed to connect", "Network is unreachable"),
        Temporary,
        "check that the agent can reach the host, directly or with HTTPS_PROXY",
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
#: Commands that talk to the remote, which is their first argument after `--`.
_NETWORK = frozenset({"fetch", "ls-remote", "push"})
SOURCE_REMEDY = "correct the source of the module"
#: Lines that say nothing about the cause.
_NOISE = re.compile(
    r"hint:|@|IT IS POSSIBLE|Someone could be|It is also possible|Please |Add correct host key|Cloning into"
    r"|and the repository exists|Warning: Permanently added|fatal: Could not read from remote repository"
    r"|debug\d: |Connection to \S+ closed|remote: (?:Enumerating|Counting|Compressing|Total) "
)
#: Git's output inside that of another program; its beginning and end say nothing about the cause.
_GIT_FAILED = re.compile(r"git exited with \d+: (.+)")
_CLONING = re.compile(r"^Cloning into '[^']*'\.\.\. ")
_CAUSE_END = re.compile(r"fatal: Could not read from remote repository|Please make sure you have|╵")
#: Of an error's text: lines, and characters of each.
_MAX_LINES, _MAX_LINE_LENGTH = 6, 300


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
    result = await run_git(*arguments, env=env, cwd=cwd, stdin=stdin, timeout=timeout)
    if result.code != 0:
        raise error_from_output(_subcommand(arguments), result.stderr.decode(errors="replace"))
    return result.stdout


async def run_git(
    *arguments: str,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bytes = b"",
    timeout: float = 60.0,
) -> process.CapturedOutput:
    """As `git`, for a caller that interprets the exit code. Raises Temporary for a timeout."""
    subcommand = _subcommand(arguments)
    attributes = {}
    if subcommand in _NETWORK and "--" in arguments:
        attributes["server.address"] = host_name(arguments[arguments.index("--") + 1])
    try:
        return await process.capture(
            ["git", *arguments],
            cwd=cwd,
            env=env,
            stdin=stdin,
            timeout=timeout,
            span=f"git {subcommand}",
            attributes=attributes,
        )
    except TimeoutError as error:
        raise Temporary(f"git {subcommand} took longer than {timeout:g} s") from error


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
    """The error for the output of a failed `git`, with the lines of ssh. An unknown failure is Temporary."""
    output = strip_credentials(output).strip()
    message = f"git {subcommand}: {' '.join(_causes(output))}"
    error_type, remedy = _classify(output)
    if issubclass(error_type, ConfigError):
        return ConfigError(message, remedy=remedy)
    return error_type(f"{message}; {remedy}" if remedy else message)


def download_error(program: str, output: str) -> PipecdError | None:
    """The error for the output of a program that ran git; None if git did not fail.

    The program may have broken the lines of git.
    """
    failed = _GIT_FAILED.search(" ".join(output.split()))
    if failed is None:
        return None
    text = strip_credentials(failed[1])
    error_type, remedy = _classify(text)
    cause = _CAUSE_END.split(_CLONING.sub("", text))[0].strip()[:_MAX_LINE_LENGTH]
    message = f"{program}: git: {cause}"
    if error_type is Temporary:
        return Temporary(f"{message}; {remedy}" if remedy else message)
    return Refused(message, remedy=remedy or SOURCE_REMEDY)


def _classify(output: str) -> tuple[type[PipecdError], str]:
    """The error type and remedy. An unknown failure is Temporary."""
    for phrases, error_type, remedy in _ERRORS:
        if any(phrase in output for phrase in phrases):
            return error_type, remedy
    return Temporary, ""


def _causes(output: str) -> Sequence[str]:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    causes = [line[:_MAX_LINE_LENGTH] for line in lines if not _NOISE.match(line)]
    return causes[-_MAX_LINES:] or lines[-1:]
