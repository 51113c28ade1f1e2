"""Merges two commits inside a mirror, without a working tree. Called by `Mirrors.merge`.

No branch points at the merge commit; the same two commits always result in the same merge commit.
"""

from collections.abc import Mapping
from pathlib import Path

from pipecd import process
from pipecd.errors import ConfigError, Refused
from pipecd.git.command import error_from_output, run_git

_TIMEOUT = 120.0  # seconds
#: Fixed dates make the merge commit's hash reproducible.
_FIXED_DATES = {"GIT_AUTHOR_DATE": "2000-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2000-01-01T00:00:00Z"}
#: Exit codes of `git merge-tree`: conflicts, and unknown options.
_CONFLICTS, _USAGE = 1, 129
#: Number of conflicting files that an error names.
_MAX_FILES = 10


async def merge_commits(mirror: Path, base: str, head: str, env: Mapping[str, str]) -> str:
    """The commit that merges `head` into `base`, both full hashes. Raises Refused if they conflict."""
    result = await _git(mirror, "merge-tree", "--write-tree", "--name-only", "-z", base, head, env=env)
    output = result.stdout.decode(errors="replace").split("\0")
    if result.code == _CONFLICTS:
        files = output[1 : output.index("", 1)]
        more = f" and {len(files) - _MAX_FILES} more" if len(files) > _MAX_FILES else ""
        raise Refused(
            f"the branches conflict in {', '.join(files[:_MAX_FILES])}{more}",
            remedy="merge or rebase the branch onto its base, and push",
        )
    stderr = result.stderr.decode(errors="replace")
    if result.code == _USAGE:
        raise ConfigError("this git cannot merge in a mirror", remedy="install git 2.38 or newer")
    if "unrelated histories" in stderr:
        raise Refused(
            "the branch and its base have no common commit", remedy="start the branch from its base"
        )
    if result.code:
        raise error_from_output("merge-tree", stderr)
    message = f"Merge {head[:12]} into {base[:12]}"
    arguments = ("commit-tree", output[0].strip(), "-p", base, "-p", head, "-m", message)
    commit = await _git(mirror, *arguments, env={**env, **_FIXED_DATES})
    if commit.code:
        raise error_from_output("commit-tree", commit.stderr.decode(errors="replace"))
    return commit.stdout.decode().strip()


async def _git(mirror: Path, *arguments: str, env: Mapping[str, str]) -> process.CapturedOutput:
    return await run_git("--git-dir", str(mirror), *arguments, env=env, timeout=_TIMEOUT)
