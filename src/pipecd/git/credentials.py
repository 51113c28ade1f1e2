"""What Git is given to log in with: always through the environment, never in a URL, an argument or a log.

A password goes as an HTTP header that the environment carries; an SSH key as a file that only this process
may read, named by `GIT_SSH_COMMAND`.
"""

import base64
import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class User:
    """Who commits are made as."""

    name: str = "piped"
    email: str = "pipecd.dev@gmail.com"


@dataclass(frozen=True, kw_only=True, repr=False)
class Credentials:
    """At most one of a password (HTTPS) and an SSH key (its text). `ssh_config` is a file of the user's."""

    username: str = ""
    password: str = ""
    ssh_key: str = ""
    ssh_config: str = ""

    @property
    def secrets(self) -> list[str]:
        """What must never be written anywhere."""
        if not self.password:
            return [self.ssh_key] if self.ssh_key else []
        return [self.password, _basic(self)]


def _basic(credentials: Credentials) -> str:
    return base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()


#: Variables of the operator's that Git and SSH may need; everything else is left behind.
_INHERITED = ("PATH", "LANG", "SSH_AUTH_SOCK", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy")
_INHERITED_TOO = ("http_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "TMPDIR")


@contextmanager
def environment(credentials: Credentials, user: User, home: Path) -> Iterator[Mapping[str, str]]:
    """The environment of every `git` we run. The key's file exists only inside the block."""
    inherited = {name: os.environ[name] for name in (*_INHERITED, *_INHERITED_TOO) if name in os.environ}
    settings = {
        # Nothing of the machine's or the user's configuration takes part.
        "core.hooksPath": os.devnull,
        "core.fsmonitor": "false",
        "gc.autoDetach": "false",
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
    with tempfile.TemporaryDirectory(prefix="pipecd-git-", dir=home) as private:
        base = {
            **inherited,
            "HOME": private,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "LC_ALL": "C.UTF-8",
            "GIT_SSH_COMMAND": _ssh(credentials, Path(private)),
        }
        if credentials.password:
            settings["http.extraHeader"] = f"Authorization: Basic {_basic(credentials)}"
        yield {**base, **_as_variables(settings)}


def _as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for index, (key, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return variables


def _ssh(credentials: Credentials, private: Path) -> str:
    command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15"]
    if credentials.ssh_config:
        command += ["-F", credentials.ssh_config]
    if credentials.ssh_key:
        key = private / "key"
        key.touch(mode=0o600)
        key.write_text(credentials.ssh_key.rstrip() + "\n")
        # As PipeCD does: hosts are not known beforehand in a container.
        command += ["-i", str(key), "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no"]
        command += ["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    return shlex.join(command)
