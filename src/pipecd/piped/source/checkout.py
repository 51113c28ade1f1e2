"""Loads application files and makes checkouts from the configured Git repositories.

Used by trigger, planner and perform. Remotes and branches come from the agent's configuration, by repository
id; a control-plane record cannot point the agent at another remote. Content of a repository cannot reach
outside its checkout.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from pipecd.bounded_dict import BoundedDict
from pipecd.config import application
from pipecd.config.application import ApplicationConfig
from pipecd.errors import ConfigError, NotFound, Place, Refused, UserError
from pipecd.git.links import paths_below, refuse_escaping_links
from pipecd.git.mirror import MAX_FILE_SIZE, Mirrors
from pipecd.git.shared_checkouts import Checkout
from pipecd.git.tree import is_inside, refuse_excluded
from pipecd.model.application import GitPath
from pipecd.model.downloads import Downloads
from pipecd.model.stage import Source
from pipecd.piped.source.read_paths import find_read_paths
from pipecd.piped.source.rendering import Renderer
from pipecd.piped.source.repository import Repository
from pipecd.platforms import Platform
from pipecd.platforms.registry import load_platform
from pipecd.platforms.stage_tables import application_types

_NO_DOWNLOADS = Downloads()
#: Applications of which it is remembered what they are made of.
MAX_READ_PATHS = 20_000
#: Opens a checkout, in a stack: of directories, or of everything if there are none.
_OpenSource = Callable[[Sequence[str], AsyncExitStack], Awaitable[tuple[Checkout, Source]]]


class Sources:
    def __init__(
        self,
        mirrors: Mirrors,
        repositories: Mapping[str, Repository],
        renderer: Renderer,
        downloads: Downloads = _NO_DOWNLOADS,
    ) -> None:
        self.mirrors, self._renderer, self._downloads = mirrors, renderer, downloads
        self._repositories = repositories
        #: By repository and path of an application: what its desired state was last made of.
        self._read_paths: BoundedDict[tuple[str, str], Sequence[str]] = BoundedDict(MAX_READ_PATHS)

    def repository(self, repo_id: str) -> Repository:
        try:
            return self._repositories[repo_id]
        except KeyError:
            raise ConfigError(
                f"the repository {repo_id} is not in this agent's configuration",
                remedy="add it to spec.repositories of the agent, or move the application",
            ) from None

    async def load_config(
        self, git_path: GitPath, commit: str, *, deployed: bool = False
    ) -> ApplicationConfig:
        """The application's decoded file at `commit`. Raises ConfigError with the file's position.

        `deployed`: the commit was deployed before, so its pipeline is not executed; see `application.load`.
        """
        file = config_file_path(git_path)
        remote = self.repository(git_path.repo_id).remote
        await self._ensure_commit(remote, commit)
        try:
            content = await self.mirrors.read(remote, commit, file)
        except NotFound:
            raise _no_config_file(file) from None
        return await asyncio.to_thread(decode_config, content, file, deployed=deployed)

    async def _ensure_commit(self, remote: str, commit: str) -> None:
        """Fetch if the mirror lacks the commit: a process with another disk may have triggered it."""
        if await self.mirrors.ensure_commit(remote, commit):
            await self._check_commit(remote, commit)

    async def _check_commit(self, remote: str, commit: str) -> None:
        try:
            await self.mirrors.commit(remote, commit, "")
        except NotFound:
            raise ConfigError(
                f"{remote} no longer has commit {commit[:7]}",
                remedy="the branch was rewritten: sync the application again",
            ) from None

    @asynccontextmanager
    async def read(
        self,
        git_path: GitPath,
        commit: str,
        platform: Platform[Any],
        *,
        deployed: bool = False,
        provider: Any = None,
    ) -> AsyncIterator[Source]:
        """The repository at `commit` for `platform.load_desired_state`. Otherwise as `checkout`.

        The checkout is shared with other readers, and may contain no more than what the platform reads. An
        application with secrets or attachments gets a copy of its directory, if that is all that is read.
        """
        remote, file = self.repository(git_path.repo_id).remote, config_file_path(git_path)
        if (remote, commit) not in self.mirrors.shared_checkouts:
            await self._ensure_commit(remote, commit)
        async with AsyncExitStack() as stack:

            async def open_source(
                directories: Sequence[str], stack: AsyncExitStack
            ) -> tuple[Checkout, Source]:
                shared = await stack.enter_async_context(
                    self.mirrors.shared_checkouts.open(remote, commit, directories)
                )
                content = await asyncio.to_thread(_read_regular_file, shared.root, file)
                if content is None:
                    config = await self.load_config(git_path, commit, deployed=deployed)
                else:
                    config = await asyncio.to_thread(decode_config, content, file, deployed=deployed)
                refuse_excluded(shared.excluded, git_path.path)
                directory = resolve_directory(shared.root, git_path.path)
                await asyncio.to_thread(refuse_escaping_links, shared.root, directory)
                return shared, self._source(commit, shared.root, directory, config, provider)

            source = await self._open_shared(git_path, platform, open_source, stack)
            config = source.config
            writes = platform.writes_files(config)
            if writes or config.spec.encryption or config.spec.attachment:
                copy = None if writes else await self._render_copy(source, git_path, platform, stack)
                if copy is None:
                    context = self.checkout(git_path, commit, deployed=deployed, provider=provider)
                    copy = await stack.enter_async_context(context)
                source = copy
            yield source

    async def _open_shared(
        self, git_path: GitPath, platform: Platform[Any], open_source: _OpenSource, stack: AsyncExitStack
    ) -> Source:
        """From a checkout of the directories that the platform reads, or of the whole commit.

        Stages with a checkout of their own get the whole commit, which the plan shows to be complete.
        """
        key = (git_path.repo_id, git_path.path)
        directories = self._read_paths.get(key) or _alone(git_path.path)
        if directories and platform.stages_share_checkouts:
            # If it fails, the whole commit shows whether only the part lacks something.
            with suppress(UserError, NotFound):
                async with AsyncExitStack() as part_stack:
                    checkout, source = await open_source(directories, part_stack)
                    if not checkout.directories or await asyncio.to_thread(
                        _contains_all, checkout, source, git_path, platform
                    ):
                        stack.push_async_callback(part_stack.pop_all().aclose)
                        return source
        _, source = await open_source((), stack)
        if platform.stages_share_checkouts:
            self._read_paths[key] = await asyncio.to_thread(_determine_read_paths, source, git_path, platform)
        return source

    async def _render_copy(
        self, source: Source, git_path: GitPath, platform: Platform[Any], stack: AsyncExitStack
    ) -> Source | None:
        """A copy of the application's directory with secrets; None if the platform reads other files too."""
        if source.directory == source.root.resolve():
            return None
        root = await stack.enter_async_context(self.mirrors.empty_directory())
        directory = root / git_path.path

        def render() -> Source | None:
            if any(path.is_symlink() for path in paths_below(source.directory)):
                return None
            shutil.copytree(source.directory, directory)
            self._renderer.render(root, directory, source.config)
            copy = replace(source, root=root, directory=directory.resolve())
            try:
                others = platform.reads(copy)
            except UserError:
                return None
            places = [Path(os.path.normpath(copy.directory / other)) for other in others or ()]
            inside = all(place.is_relative_to(copy.directory) for place in places)
            return copy if others is not None and inside else None

        return await asyncio.to_thread(render)

    @asynccontextmanager
    async def checkout(
        self, git_path: GitPath, commit: str, *, deployed: bool = False, provider: Any = None
    ) -> AsyncIterator[Source]:
        """A copy of the repository at `commit` for one caller; it is removed when the block ends.

        The application's secrets and attachments are rendered into its files. `deployed` as in `load_config`;
        `provider` is the decoded `config` of the application's platform provider.
        """
        config = await self.load_config(git_path, commit, deployed=deployed)
        remote = self.repository(git_path.repo_id).remote
        async with self.mirrors.worktree(remote, commit, required=git_path.path) as root:
            directory = resolve_directory(root, git_path.path)
            await asyncio.to_thread(refuse_escaping_links, root, directory)
            if config.spec.encryption or config.spec.attachment:
                await asyncio.to_thread(self._renderer.render, root, directory, config)
            yield self._source(commit, root, directory, config, provider)

    def _source(
        self, commit: str, root: Path, directory: Path, config: ApplicationConfig, provider: Any
    ) -> Source:
        return Source(
            commit=commit,
            root=root,
            directory=directory,
            config=config,
            download_env=self.mirrors.download_env,
            provider=provider,
            downloads=self._downloads,
        )


def _alone(path: str) -> Sequence[str]:
    """The application's directory; nothing if that is the whole repository, or outside of it."""
    path = os.path.normpath(path)
    return () if path in (".", "..") or path.startswith(("../", "/")) else (path,)


def _contains_all(checkout: Checkout, source: Source, git_path: GitPath, platform: Platform[Any]) -> bool:
    """Whether the checkout of a few directories contains all that the platform reads. Runs in a thread."""
    paths = _determine_read_paths(source, git_path, platform)
    return bool(paths) and all(
        any(is_inside(path, directory) for directory in checkout.directories) for path in paths
    )


def _determine_read_paths(source: Source, git_path: GitPath, platform: Platform[Any]) -> Sequence[str]:
    """The directories that the desired state is made of; empty if they are not known, or are everything."""
    try:
        paths = find_read_paths(git_path.path, source, platform.reads(source))
    except UserError:
        return ()
    return () if paths is None or "." in paths else paths


def config_file_path(git_path: GitPath) -> str:
    """The path of the application's file in its repository. Raises ConfigError for a path outside it."""
    path, inside = _join(git_path.path, git_path.config_filename)
    if not inside:
        raise ConfigError(
            f"{path} is outside the repository",
            remedy="write the application's path relative to the repository's root, without ..",
        )
    return path


@lru_cache(maxsize=20_000)
def _join(directory: str, filename: str) -> tuple[str, bool]:
    """The path, and whether it is inside the repository. Cached: it is asked for at every change."""
    path = PurePosixPath(directory, filename)
    return str(path), not (path.is_absolute() or ".." in path.parts)


def _read_regular_file(root: Path, file: str) -> bytes | None:
    """The content; None unless it is a file of usual size, and reached without links."""
    path = root.resolve() / file
    if Path(os.path.realpath(path)) != path or not path.is_file() or path.stat().st_size > MAX_FILE_SIZE:
        return None
    return path.read_bytes()


def _no_config_file(file: str) -> ConfigError:
    return ConfigError(
        "there is no such file in the commit",
        place=Place(file),
        remedy="restore the file, or change the application's path or configuration file name",
    )


def decode_config(content: bytes, file: str, *, deployed: bool = False) -> ApplicationConfig:
    """Raises ConfigError. A file of the size limit takes a second: call it in a thread."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ConfigError(
            "the file is not UTF-8 text", place=Place(file), remedy="save it as UTF-8"
        ) from None
    return application.load(
        text, file, lambda kind: application_types(load_platform(kind)), deployed=deployed
    )


def resolve_directory(root: Path, path: str) -> Path:
    """The directory `path` under `root`. Raises Refused if a symbolic link leads outside `root`."""
    directory = (root / path).resolve()
    if not directory.is_relative_to(root.resolve()):
        raise Refused(
            f"the application's path {path} points outside the repository", remedy="remove the link"
        )
    if not directory.is_dir():
        raise ConfigError(f"the application's path {path} is not a directory", remedy="restore the directory")
    return directory
