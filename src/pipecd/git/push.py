"""Commits file contents on top of a commit and pushes the result, inside a mirror without a working tree.

Called by `Mirrors`. A push is refused by the remote either because the branch moved, in which case the change
is computed again on the new head, or by a rule of the remote, which is reported to a person.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from pipecd.errors import Conflict, Refused
from pipecd.git.command import error_from_output, git, run_git
from pipecd.secrets import strip_credentials

_TIMEOUT = 120.0  # seconds
#: Reasons in the output of `git push --porcelain` that mean that the branch moved.
_STALE = (
    "fetch first",
    "non-fast-forward",
    "stale info",
    "cannot lock ref",
    "incorrect old value provided",
    "failed to update ref",
    "already exists",
)
#: Characters of the remote's own sentences in an error.
_MAX_REASON_LENGTH = 1000


async def commit_files(
    mirror: Path, parent: str, files: Mapping[str, tuple[str, bytes]], message: str, env: Mapping[str, str]
) -> str:
    """The hash of a new commit on `parent` in which `files` have these modes and contents.

    No branch points at the commit.
    """
    git_dir = ("--git-dir", str(mirror))
    with TemporaryDirectory(prefix="index-", dir=mirror) as directory:
        env = {**env, "GIT_INDEX_FILE": str(Path(directory) / "index")}
        await git(*git_dir, "read-tree", parent, env=env)
        entries = ""
        for path, (mode, content) in files.items():
            blob = await git(*git_dir, "hash-object", "-w", "--stdin", env=env, stdin=content)
            entries += f"{mode} {blob.decode().strip()}\t{path}\0"
        stdin = entries.encode(errors="surrogateescape")
        await git(*git_dir, "update-index", "-z", "--index-info", env=env, stdin=stdin)
        tree = await git(*git_dir, "write-tree", env=env)
        arguments = ("commit-tree", tree.decode().strip(), "-p", parent, "-F", "-")
        commit = await git(*git_dir, *arguments, env=env, stdin=message.encode())
        return commit.decode().strip()


async def push_commit(
    mirror: Path, remote: str, commit: str, branch: str, expected: str | None, env: Mapping[str, str]
) -> None:
    """Make `branch` of the remote point at `commit`.

    With `expected`, the branch may be rewritten if it points at that commit ("": if it does not exist);
    otherwise only commits may be added to it. Raises Conflict if the branch moved, Refused with the remote's
    own words if a rule of it forbids the push, and the errors of `git`.
    """
    reference = f"refs/heads/{branch}"
    lease = () if expected is None else (f"--force-with-lease={reference}:{expected}",)
    result = await run_git(
        *("--git-dir", str(mirror), "push", "--porcelain", "--no-verify", *lease, "--"),
        *(remote, f"{commit}:{reference}"),
        env=env,
        timeout=_TIMEOUT,
    )
    if result.code == 0:
        return
    stderr = result.stderr.decode(errors="replace")
    rejected = [line for line in result.stdout.decode(errors="replace").splitlines() if line.startswith("!")]
    if not rejected:
        raise error_from_output("push", stderr)
    reason = rejected[0].rpartition("\t")[2]
    if any(phrase in reason for phrase in _STALE):
        raise Conflict(f"{branch} of {strip_credentials(remote)} moved: {reason}")
    words = [line.removeprefix("remote:").strip() for line in stderr.splitlines() if "remote:" in line[:7]]
    text = strip_credentials(" ".join([reason, *words]))[:_MAX_REASON_LENGTH].strip()
    raise Refused(
        f"the remote refused the push to {branch}: {text}",
        remedy="allow the agent's Git user to push to this branch, or use makePullRequest",
    )
