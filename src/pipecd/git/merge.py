"""Merging two commits inside a mirror, without a working copy. Called by `Mirrors.merged`.

The merge is a commit that no branch points at; the same two commits always make the same one.
"""

from collections.abc import Mapping
from pathlib import Path

from pipecd import process
from pipecd.errors import ConfigError, Refused, Temporary
from pipecd.git.command import failure

_SECONDS = 120.0
#: So that asking twice makes one commit.
_WHEN = {"GIT_AUTHOR_DATE": "2000-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2000-01-01T00:00:00Z"}
_CONFLICTS, _USAGE = 1, 129
_SHOWN = 10


async def merge(mirror: Path, base: str, head: str, env: Mapping[str, str]) -> str:
    """The commit that merges `head` into `base`, both full hashes. Raises Refused when they conflict."""
    done = await _git(mirror, "merge-tree", "--write-tree", "--name-only", "-z", base, head, env=env)
    told = done.stdout.decode(errors="replace").split("\0")
    if done.code == _CONFLICTS:
        files = told[1 : told.index("", 1)]
        more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
        raise Refused(
            f"the branches conflict in {', '.join(files[:_SHOWN])}{more}",
            remedy="merge or rebase the branch onto its base, and push",
        )
    stderr = done.stderr.decode(errors="replace")
    if done.code == _USAGE:
        raise ConfigError("this git cannot merge in a mirror", remedy="install git 2.38 or newer")
    if "unrelated histories" in stderr:
        raise Refused(
            "the branch and its base have no common commit", remedy="start the branch from its base"
        )
    if done.code:
        raise failure("merge-tree", stderr)
    message = f"Merge {head[:12]} into {base[:12]}"
    tree = ("commit-tree", told[0].strip(), "-p", base, "-p", head, "-m", message)
    made = await _git(mirror, *tree, env={**env, **_WHEN})
    if made.code:
        raise failure("commit-tree", made.stderr.decode(errors="replace"))
    return made.stdout.decode().strip()


async def _git(mirror: Path, *arguments: str, env: Mapping[str, str]) -> process.Captured:
    argv = ["git", "--git-dir", str(mirror), *arguments]
    try:
        return await process.capture(argv, env=env, timeout=_SECONDS)
    except TimeoutError:
        raise Temporary(f"git {arguments[0]} took longer than {_SECONDS:g} s") from None
