"""Where people see a commit in their browser, for the hosts whose addresses are known."""

from collections.abc import Mapping

from pipecd.remotes import canonical

_COMMIT_PAGES: Mapping[str, str] = {
    "github": "commit",
    "gitlab": "-/commit",
    "bitbucket": "commits",
    "gitea": "commit",
}


def commit_url(remote: str, commit: str) -> str:
    """Empty for a remote that is not on a known host."""
    place = canonical(remote)
    host = place.split("/", 1)[0]
    for name, page in _COMMIT_PAGES.items():
        if name in host:
            return f"https://{place}/{page}/{commit}"
    return ""
