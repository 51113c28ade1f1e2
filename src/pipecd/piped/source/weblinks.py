"""Web page URLs of commits, for well-known Git hosts."""

from collections.abc import Mapping

from pipecd.remotes import canonical

_COMMIT_PAGES: Mapping[str, str] = {
    "github": "commit",
    "gitlab": "-/commit",
    "bitbucket": "commits",
    "gitea": "commit",
}


def commit_url(remote: str, commit: str) -> str:
    """The URL of the commit's page; empty for a remote on an unknown host."""
    path = canonical(remote)
    host = path.split("/", 1)[0]
    for name, page in _COMMIT_PAGES.items():
        if name in host:
            return f"https://{path}/{page}/{commit}"
    return ""
