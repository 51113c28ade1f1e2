"""Passes credentials to Git: always through the environment, never in a URL, an argument or a log.

A password is sent as an HTTP header that is set through the environment, to the servers of named remotes
only. An SSH key is written to a file that only this process can read, and `GIT_SSH_COMMAND` names the file.
"""

import base64
import os
import re
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipecd.remotes import http_origin


@dataclass(frozen=True, kw_only=True)
class User:
    """Author and committer of commits."""

    name: str = "piped"
    email: str = "pipecd.dev@gmail.com"


@dataclass(frozen=True, kw_only=True, repr=False)
class Credentials:
    """A password (HTTPS), an SSH key (its text), or neither. `ssh_config` is a file path."""

    username: str = ""
    password: str = ""
    ssh_key: str = ""
    ssh_config: str = ""

    @property
    def secrets(self) -> list[str]:
        """The texts to redact from all output."""
        if not self.password:
            return [self.ssh_key] if self.ssh_key else []
        return [self.password, self.basic_auth]

    @property
    def basic_auth(self) -> str:
        """User name and password as the `Authorization` header has them; empty without a password."""
        if not self.password:
            return ""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


#: Environment variables that Git and SSH may need; no others are passed on. curl reads `http_proxy` in lower
#: case only.
_INHERITED = (
    "PATH",
    "LANG",
    "SSH_AUTH_SOCK",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "TMPDIR",
)


@contextmanager
def environment(credentials: Credentials, user: User, home: Path) -> Iterator[Mapping[str, str]]:
    """The environment of every `git` process, without the password. The key's file exists inside the block.

    `with_password` adds the password for particular remotes.
    """
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    if "SSL_CERT_FILE" in inherited:
        # Git may be built with a TLS library that does not read the variable.
        inherited.setdefault("GIT_SSL_CAINFO", inherited["SSL_CERT_FILE"])
    settings = {
        # The configuration of the machine and the user has no effect.
        "core.hooksPath": os.devnull,
        "core.fsmonitor": "false",
        "gc.autoDetach": "false",
        # A checkout is what Git makes of the commit on Linux by default.
        "core.autocrlf": "false",
        "core.eol": "lf",
        "core.symlinks": "true",
        "submodule.recurse": "false",
        "protocol.allow": "never",
        "protocol.http.allow": "always",
        "protocol.https.allow": "always",
        "protocol.ssh.allow": "always",
        "protocol.file.allow": "always",
        "http.lowSpeedLimit": "1",
        "http.lowSpeedTime": "30",
        "user.name": user.name,
        "user.email": user.email,
        "advice.detachedHead": "false",
        "safe.directory": "*",
    }
    with tempfile.TemporaryDirectory(prefix="pipecd-git-", dir=home) as private_directory:
        base = {
            **inherited,
            "HOME": private_directory,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "LC_ALL": "C.UTF-8",
            "GIT_SSH_COMMAND": _ssh_command(credentials, Path(private_directory)),
        }
        yield _with_settings(base, settings.items())


def with_password(
    env: Mapping[str, str], credentials: Credentials, remotes: Iterable[str]
) -> Mapping[str, str]:
    """`env` with the password for the servers of `remotes`: over HTTPS, or as the remote is written.

    Git sends it to no other scheme, host or port.
    """
    if not credentials.password:
        return env
    origins = sorted({origin for remote in remotes if (origin := http_origin(remote))})
    header = f"Authorization: Basic {credentials.basic_auth}"
    return _with_settings(env, [(f"http.{origin}/.extraHeader", header) for origin in origins])


def program_environment(
    env: Mapping[str, str], credentials: Credentials, remotes: Iterable[str]
) -> Mapping[str, str]:
    """Variables, besides those of this process, for programs that run Git or download from its servers.

    `env` is that of `environment`. Such a program keeps its own configuration of Git, and gets the key and
    the password. The password is also written to a netrc file, for downloads without Git.
    """
    names = ("GIT_TERMINAL_PROMPT", "GIT_SSL_CAINFO")
    variables = {name: env[name] for name in names if name in env}
    if credentials.ssh_key or credentials.ssh_config:
        variables["GIT_SSH_COMMAND"] = env["GIT_SSH_COMMAND"]
    if not credentials.password:
        return variables
    count = os.environ.get("GIT_CONFIG_COUNT", "0")
    variables = {**with_password({**variables, "GIT_CONFIG_COUNT": count}, credentials, remotes)}
    hosts = sorted({urlsplit(origin).hostname or "" for remote in remotes if (origin := http_origin(remote))})
    words = (credentials.username, credentials.password)
    # A netrc file cannot quote spaces.
    if "NETRC" not in os.environ and not any(re.search(r"\s", word) for word in words):
        netrc = Path(env["HOME"], "netrc")
        netrc.touch(mode=0o600)
        lines = [f"machine {host} login {words[0]} password {words[1]}\n" for host in hosts]
        netrc.write_text("".join(lines))
        variables["NETRC"] = str(netrc)
    return variables


def _with_settings(env: Mapping[str, str], settings: Iterable[tuple[str, str]]) -> dict[str, str]:
    """`env` with more settings of Git, after those that it has."""
    variables, added = dict(env), list(settings)
    first = int(variables.get("GIT_CONFIG_COUNT") or 0)
    for number, (key, value) in enumerate(added, start=first):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables | {"GIT_CONFIG_COUNT": str(first + len(added))}


def _ssh_command(credentials: Credentials, private_directory: Path) -> str:
    command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15"]
    if credentials.ssh_config:
        command += ["-F", credentials.ssh_config]
    if credentials.ssh_key:
        key_file = private_directory / "key"
        key_file.touch(mode=0o600)
        key_file.write_text(credentials.ssh_key.rstrip() + "\n")
        # As in PipeCD: a container has no known_hosts file.
        command += ["-i", str(key_file), "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no"]
        command += ["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    return shlex.join(command)
