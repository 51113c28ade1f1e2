"""Compares Git remotes independently of how they are written, and builds links to a directory.

Used for webhooks, where the host reports `https://…` and an agent's configuration may contain `ssh://…` or
`git@host:…`. Scheme, login, port, a trailing `.git` and letter case are ignored: the result only triggers a
check of the repository, and an unnecessary check is harmless.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

_SCP = re.compile(r"^(?:[^@/]+@)?(?P<host>[^/:]+):(?!//)(?P<path>.+)$")


def same_repository(first: str, second: str) -> bool:
    """Whether both remotes refer to the same repository. An empty remote refers to none."""
    return bool(first) and bool(second) and canonical(first) == canonical(second)


def canonical(remote: str) -> str:
    """`host/owner/name` in lower case; a local path stays a path."""
    host, path = _split(remote.strip())
    # Bitbucket Server uses `/scm/` only in its HTTPS addresses.
    path = path.strip("/").removesuffix(".git").removeprefix("scm/")
    return f"{host}/{path}".casefold()


def repository_path(remote: str) -> str:
    """The path of the repository on its host, as written: `owner/name`."""
    return _split(remote.strip())[1].strip("/").removesuffix(".git")


def _split(remote: str) -> tuple[str, str]:
    if "://" in remote:
        try:
            parts = urlsplit(remote)
        except ValueError:
            return "", remote
        return parts.hostname or "", parts.path
    if scp := _SCP.match(remote):
        return scp["host"], scp["path"]
    return "", remote


def host_name(remote: str) -> str:
    """The host of a remote in lower case; empty for a local path."""
    return _split(remote.strip())[0].casefold()


def http_origin(remote: str) -> str:
    """The HTTP server of a remote, as `https://host:port`. Empty for a local path.

    For a remote over SSH it is the HTTPS server of the same host.
    """
    remote = remote.strip()
    name = host_name(remote)
    scheme = remote.partition("://")[0].lower() if "://" in remote else "ssh"
    if not name or scheme not in ("http", "https", "ssh"):
        return ""
    return f"https://{name}" if scheme == "ssh" else f"{scheme}://{_address(remote)}"


def _address(url: str) -> str:
    """Host and port, as written."""
    return urlsplit(url).netloc.rpartition("@")[2].lower()


@dataclass(frozen=True, kw_only=True)
class SshAddress:
    """`login` is `user@host` or `host`; `port` is empty for the default one."""

    login: str
    port: str
    path: str


def ssh_address(remote: str) -> SshAddress | None:
    """Where `ssh` connects to for a remote; None unless it is a remote over SSH."""
    if remote.lower().startswith("ssh://"):
        try:
            parts = urlsplit(remote)
            port = str(parts.port or "")
        except ValueError:
            return None
        user = f"{parts.username}@" if parts.username else ""
        return SshAddress(login=f"{user}{parts.hostname or ''}", port=port, path=parts.path)
    if "://" not in remote and "::" not in remote and (scp := _SCP.match(remote)):
        return SshAddress(login=remote.partition(":")[0], port="", path=scp["path"])
    return None


#: Path of a directory view, by a word in the host name.
_DIRECTORY_PATHS = {
    "github": "tree/{branch}",
    "gitlab": "-/tree/{branch}",
    "bitbucket": "src/{branch}",
    "gitea": "src/branch/{branch}",
    "codeberg": "src/branch/{branch}",
}


def directory_url(remote: str, branch: str, path: str) -> str:
    """The web page of a directory on a branch; empty for a host whose URL scheme is unknown."""
    host, repository = _split(remote.strip())
    for word, template in _DIRECTORY_PATHS.items():
        if word in host.lower():
            name = repository.strip("/").removesuffix(".git")
            return f"https://{host}/{name}/{template.format(branch=quote(branch))}/{quote(path)}".rstrip("/.")
    return ""
