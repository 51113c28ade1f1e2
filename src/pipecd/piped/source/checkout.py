"""Where a deployment's files come from: configuration by `read`, checkouts by `checkout`.

Used by trigger, planner and perform. Remotes and branches come from the agent's own file, by the
repository's id; a record of the control plane cannot point the agent at another remote. Nothing that a
repository holds may reach outside the checkout.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath

from pipecd.config import application
from pipecd.config.application import ApplicationConfig
from pipecd.errors import ConfigError, NotFound, Place, Refused
from pipecd.git.mirror import Mirrors
from pipecd.model.application import GitPath
from pipecd.model.stage import Source
from pipecd.piped.source.rendering import Rendering
from pipecd.piped.source.repository import Repository
from pipecd.platforms import platform


class Sources:
    def __init__(
        self, mirrors: Mirrors, repositories: Mapping[str, Repository], rendering: Rendering
    ) -> None:
        self.mirrors, self._rendering = mirrors, rendering
        self._repositories = repositories

    def repository(self, repo_id: str) -> Repository:
        try:
            return self._repositories[repo_id]
        except KeyError:
            raise ConfigError(
                f"the repository {repo_id} is not in this agent's configuration",
                remedy="add it to spec.repositories of the agent, or move the application",
            ) from None

    async def config(self, git_path: GitPath, commit: str) -> ApplicationConfig:
        """The application's file at `commit`. Raises ConfigError with its place."""
        file = config_file(git_path)
        remote = self.repository(git_path.repo_id).remote
        await self._fetched(remote, commit)
        try:
            text = await self.mirrors.read(remote, commit, file)
        except NotFound:
            raise ConfigError(
                "there is no such file in the commit",
                place=Place(file),
                remedy="restore the file, or change the application's path or configuration file name",
            ) from None
        return decoded(text, file)

    async def _fetched(self, remote: str, commit: str) -> None:
        """Make sure of the commit: another process may have triggered it, on another disk."""
        try:
            await self.mirrors.commit(remote, commit, "")
        except NotFound:
            await self.mirrors.fetch(remote)
            await self._still_there(remote, commit)

    async def _still_there(self, remote: str, commit: str) -> None:
        try:
            await self.mirrors.commit(remote, commit, "")
        except NotFound:
            raise ConfigError(
                f"{remote} does not have commit {commit[:7]} any more",
                remedy="the branch was rewritten: sync the application again",
            ) from None

    @asynccontextmanager
    async def checkout(self, git_path: GitPath, commit: str) -> AsyncIterator[Source]:
        """A copy of the repository at `commit`, for one use; it is removed afterwards.

        The application's secrets and attachments are in their places.
        """
        config = await self.config(git_path, commit)
        remote = self.repository(git_path.repo_id).remote
        async with self.mirrors.worktree(remote, commit) as root:
            directory = inside(root, git_path.path)
            refuse_escaping_links(root, directory)
            if config.spec.encryption or config.spec.attachment:
                await asyncio.to_thread(self._rendering.render, root, directory, config)
            yield Source(commit=commit, root=root, directory=directory, config=config)


def config_file(git_path: GitPath) -> str:
    """The path of the application's file in its repository. Raises ConfigError when it leaves it."""
    parts = PurePosixPath(git_path.path, git_path.config_filename)
    if parts.is_absolute() or ".." in parts.parts:
        raise ConfigError(
            f"{parts} leaves the repository",
            remedy="write the application's path relative to the repository's root, without ..",
        )
    return str(parts)


def decoded(text: bytes, file: str) -> ApplicationConfig:
    try:
        words = text.decode()
    except UnicodeDecodeError:
        raise ConfigError(
            "the file is not UTF-8 text", place=Place(file), remedy="save it as UTF-8"
        ) from None
    return application.load(words, file, platform)


def inside(root: Path, path: str) -> Path:
    """`path` under `root`, which it does not leave, also not through a link."""
    directory = (root / path).resolve()
    if not directory.is_relative_to(root.resolve()):
        raise Refused(f"the application's path {path} leads out of the repository", remedy="remove the link")
    if not directory.is_dir():
        raise ConfigError(f"the application's path {path} is not a directory", remedy="restore the directory")
    return directory


def refuse_escaping_links(root: Path, directory: Path) -> None:
    """Raise Refused when a link below `directory` leads out of the checkout."""
    real_root = root.resolve()
    for parent, directories, files in os.walk(directory):
        for name in (*directories, *files):
            link = Path(parent, name)
            # Not `resolve`, which fails for a link to itself.
            if link.is_symlink() and not Path(os.path.realpath(link)).is_relative_to(real_root):
                raise Refused(
                    f"the link {link.relative_to(root)} leads out of the repository",
                    remedy="replace it with a file, or with a relative link inside the repository",
                )
