"""A pull request as it would be merged: the commit, what it changes, and which applications that concerns.

Called by `preview`. The base is the head of the configured branch now; what was pushed and not deployed yet
belongs to the branch and not to the pull request.
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
from pipecd.model.paths import touched
from pipecd.model.trigger import on_commit
from pipecd.piped.source.checkout import config_file, decoded
from pipecd.piped.source.repository import Repository

_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True, kw_only=True)
class Merged:
    repository: Repository
    commit: Commit
    #: Every path that the pull request changes.
    changed: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Concerned:
    """An application that the pull request would deploy; `error` says why nobody can tell what it does."""

    application: Application
    config: ApplicationConfig | None = None
    error: str = ""


async def merged(mirrors: Mirrors, repository: Repository, asked: BuildPlanPreview) -> Merged:
    """Raises Refused for a conflict and for what does not fit, Temporary when Git is away."""
    remote = repository.remote
    if asked.base_branch != repository.branch:
        raise Refused(
            f"this agent deploys {repository.branch} of the repository, not {asked.base_branch}",
            remedy=f"preview pull requests into {repository.branch}",
        )
    if not _COMMIT.fullmatch(asked.head_commit):
        raise Refused("the head commit is no commit's hash", remedy="give its full hash")
    base = await mirrors.head(remote, repository.branch)
    await mirrors.fetch(remote)
    for revision in (base, asked.head_commit):
        if not await _known(mirrors, remote, revision):
            # A fetch that was under way already may have begun before the push.
            await mirrors.fetch(remote)
    if not await _known(mirrors, remote, asked.head_commit):
        raise Refused(
            f"no branch of the repository has commit {asked.head_commit[:12]}",
            remedy=f"push {asked.head_branch} to the repository itself: forks are not looked at",
        )
    head = await mirrors.commit(remote, asked.head_commit, asked.head_branch)
    made = await mirrors.merged(remote, base, head.hash)
    return Merged(
        repository=repository,
        commit=await mirrors.commit(remote, made, repository.branch),
        changed=await mirrors.changed_files(remote, base, made),
    )


async def _known(mirrors: Mirrors, remote: str, revision: str) -> bool:
    try:
        await mirrors.commit(remote, revision, "")
    except NotFound:
        return False
    return True


async def concerned(
    mirrors: Mirrors, request: Merged, applications: Iterable[Application]
) -> Sequence[Concerned]:
    """Those of `applications` that the merge would trigger, by `trigger.onCommit` of their merged files."""
    if not request.changed:
        return []
    remote, commit = request.repository.remote, request.commit.hash
    blobs = dict(await mirrors.blobs(remote, commit))
    files = {one.id: config_file(one.git_path) for one in applications}
    wanted = sorted({blobs[file] for file in files.values() if file in blobs})
    texts = await mirrors.read_blobs(remote, wanted)
    found = []
    for application in applications:
        file = files[application.id]
        one = await asyncio.to_thread(_looked_at, application, file, texts.get(blobs.get(file, "")), request)
        if one:
            found.append(one)
    return found


def _looked_at(application: Application, file: str, text: bytes | None, request: Merged) -> Concerned | None:
    directory = application.git_path.path
    try:
        if text is None:
            raise ConfigError(
                f"{file} would be gone",
                remedy="keep the file, or delete the application in the console after the merge",
            )
        config = decoded(text, file)
    except ConfigError as error:
        ours = touched(request.changed, directory=directory, paths=(), ignores=())
        return Concerned(application=application, error=str(error)) if ours else None
    decision = on_commit(
        config.spec.trigger.on_commit,
        directory=directory,
        last="the base",
        head=request.commit.hash,
        changed=request.changed,
    )
    return Concerned(application=application, config=config) if decision.triggered else None
