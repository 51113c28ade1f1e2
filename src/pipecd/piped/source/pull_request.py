"""Merges a pull request in the mirror: the merge commit, the changed files, and the affected applications.

Called by `preview`. The base is the current head of the configured branch; commits that were pushed but not
yet deployed belong to the branch, not to the pull request.
"""

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipecd.config.application import ApplicationConfig
from pipecd.errors import ConfigError, NotFound, Refused
from pipecd.git.mirror import Mirrors
from pipecd.model.application import Application
from pipecd.model.command import BuildPlanPreview
from pipecd.model.deployment import Commit
from pipecd.model.paths import find_touched_path
from pipecd.model.trigger import on_commit
from pipecd.piped.source.checkout import config_file_path, decode_config
from pipecd.piped.source.repository import Repository

_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True, kw_only=True)
class MergedPullRequest:
    repository: Repository
    commit: Commit
    #: All paths that the pull request changes.
    changed: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class AffectedApplication:
    """An application that merging would deploy. `error` is set when the change cannot be determined."""

    application: Application
    config: ApplicationConfig | None = None
    error: str = ""


async def merge_pull_request(
    mirrors: Mirrors, repository: Repository, command: BuildPlanPreview
) -> MergedPullRequest:
    """Merge the head commit into the current base branch.

    Raises Refused for a conflict, another base branch or an unknown commit; Temporary if Git is unreachable.
    """
    remote = repository.remote
    if command.base_branch != repository.branch:
        raise Refused(
            f"this agent deploys {repository.branch} of the repository, not {command.base_branch}",
            remedy=f"preview pull requests into {repository.branch}",
        )
    if not _COMMIT.fullmatch(command.head_commit):
        raise Refused("the head commit is not a commit hash", remedy="give its full hash")
    base = await mirrors.head(remote, repository.branch)
    await mirrors.fetch(remote)
    for revision in (base, command.head_commit):
        if not await _has_commit(mirrors, remote, revision):
            # A fetch that was already running may have begun before the push.
            await mirrors.fetch(remote)
    if not await _has_commit(mirrors, remote, command.head_commit):
        raise Refused(
            f"no branch of the repository has commit {command.head_commit[:12]}",
            remedy=f"push {command.head_branch} to the repository itself: forks are not supported",
        )
    head = await mirrors.commit(remote, command.head_commit, command.head_branch)
    merge_commit = await mirrors.merge(remote, base, head.hash)
    return MergedPullRequest(
        repository=repository,
        commit=await mirrors.commit(remote, merge_commit, repository.branch),
        changed=await mirrors.changed_files(remote, base, merge_commit),
    )


async def _has_commit(mirrors: Mirrors, remote: str, revision: str) -> bool:
    try:
        await mirrors.commit(remote, revision, "")
    except NotFound:
        return False
    return True


async def find_affected_applications(
    mirrors: Mirrors, pull_request: MergedPullRequest, applications: Iterable[Application]
) -> Sequence[AffectedApplication]:
    """Those of `applications` that the merge would trigger, by `trigger.onCommit` of their merged files."""
    if not pull_request.changed:
        return []
    remote, commit = pull_request.repository.remote, pull_request.commit.hash
    files = {application.id: config_file_path(application.git_path) for application in applications}
    blobs = await mirrors.find_files(remote, commit, sorted(set(files.values())))
    contents = await mirrors.read_blobs(
        remote, sorted({blob for blob in blobs.values() if isinstance(blob, str)})
    )
    affected_applications = []
    for application in applications:
        file = files[application.id]
        blob = blobs[file]
        content = contents[blob] if isinstance(blob, str) else blob
        affected = await asyncio.to_thread(_check_application, application, file, content, pull_request)
        if affected:
            affected_applications.append(affected)
    return affected_applications


def _check_application(
    application: Application,
    file: str,
    content: bytes | ConfigError | NotFound,
    pull_request: MergedPullRequest,
) -> AffectedApplication | None:
    directory = application.git_path.path
    try:
        if isinstance(content, ConfigError):
            raise content
        if isinstance(content, NotFound):
            raise ConfigError(
                f"{file} would be deleted",
                remedy="keep the file, or delete the application in the console after the merge",
            )
        config = decode_config(content, file)
    except ConfigError as error:
        touched = find_touched_path(pull_request.changed, directory=directory)
        return AffectedApplication(application=application, error=str(error)) if touched else None
    decision = on_commit(
        config.spec.trigger.on_commit,
        directory=directory,
        last="the base",
        head=pull_request.commit.hash,
        changed=pull_request.changed,
    )
    return AffectedApplication(application=application, config=config) if decision.triggered else None
