"""Whether two remotes name the same repository, however each is written.

Called by the control plane: for webhooks, where a host says `https://…`, an agent's configuration may say
`ssh://…` or `git@host:…`, and for links to a directory. Scheme, login, port, a trailing `.git` and letter
case do not tell repositories apart here: the answer is only a hint to look, and a look too many is harmless.
"""

import re
from urllib.parse import quote, urlsplit

_SCP = re.compile(r"^(?:[^@/]+@)?(?P<host>[^/:]+):(?!//)(?P<path>.+)$")


def same_repository(one: str, other: str) -> bool:
    """Whether both name one repository. An empty remote names none."""
    return bool(one) and bool(other) and canonical(one) == canonical(other)


def canonical(remote: str) -> str:
    """`host/owner/name` in small letters; a local path stays a path."""
    host, path = _split(remote.strip())
    # Bitbucket Server shows `/scm/` in its https addresses only.
    path = path.strip("/").removesuffix(".git").removeprefix("scm/")
    return f"{host}/{path}".casefold()


def _split(remote: str) -> tuple[str, str]:
    if "://" in remote:
        parts = urlsplit(remote)
        return parts.hostname or "", parts.path
    if scp := _SCP.match(remote):
        return scp["host"], scp["path"]
    return "", remote


#: How hosts show a directory, by a word in their name.
_VIEWS = {
    "github": "tree/{branch}",
    "gitlab": "-/tree/{branch}",
    "bitbucket": "src/{branch}",
    "gitea": "src/branch/{branch}",
    "codeberg": "src/branch/{branch}",
}


def directory_url(remote: str, branch: str, path: str) -> str:
    """Where a browser shows a directory of a branch; empty for a host whose addresses are not known."""
    host, repository = _split(remote.strip())
    for word, view in _VIEWS.items():
        if word in host.lower():
            name = repository.strip("/").removesuffix(".git")
            return f"https://{host}/{name}/{view.format(branch=quote(branch))}/{quote(path)}".rstrip("/.")
    return ""
