"""One bare mirror a repository, shared by every reader.

The agent asks a remote for its head (one cheap call), fetches when that is new, and reads
configuration straight from the mirror. However many ask at once, one fetch runs. A mirror that was cut off
while being made is made again. Nothing here is state: the folder may be deleted at any time.
"""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Self
from uuid import uuid4

from pipecd.errors import ConfigError, NotFound
from pipecd.git.command import git
from pipecd.git.credentials import Credentials, User, environment
from pipecd.git.merge import merge
from pipecd.model.deployment import Commit

NETWORK_SECONDS = 60.0
FIRST_FETCH_SECONDS = 900.0
LOCAL_AT_ONCE = 8


class Mirrors:
    """Use as an async context manager: the environment with the credentials lives as long as it does."""

    def __init__(self, home: Path, credentials: Credentials, user: User) -> None:
        self._home, self._credentials, self._user = home, credentials, user
        self._fetches: dict[str, asyncio.Task[None]] = {}
        self._open = AsyncExitStack()
        #: However many applications there are, so many of our processes read mirrors at a time.
        self._local = asyncio.Semaphore(LOCAL_AT_ONCE)
        self._env: Mapping[str, str] = {}

    async def __aenter__(self) -> Self:
        try:
            self._home.mkdir(parents=True, exist_ok=True)
            self._env = self._open.enter_context(environment(self._credentials, self._user, self._home))
        except OSError as error:
            raise ConfigError(
                f"{self._home} cannot be written: {error.strerror}",
                remedy="give the agent a folder of its own",
            ) from error
        # Checkouts of a process that was killed.
        shutil.rmtree(self._home / "worktrees", ignore_errors=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        for fetch in self._fetches.values():
            fetch.cancel()
        await asyncio.gather(*self._fetches.values(), return_exceptions=True)
        await self._open.aclose()
        shutil.rmtree(self._home / "worktrees", ignore_errors=True)

    async def head(self, remote: str, branch: str) -> str:
        """The commit that `branch` points at on the remote, without fetching it."""
        answer = await self._git("ls-remote", "--", remote, f"refs/heads/{branch}", timeout=NETWORK_SECONDS)
        if not answer.strip():
            raise ConfigError(
                f"{remote} has no branch {branch}",
                remedy="push the branch, or correct it in the configuration",
            )
        return answer.split()[0].decode()

    async def fetch(self, remote: str) -> None:
        """Brings the mirror up to date. Callers that come while a fetch runs share its result."""
        running = self._fetches.get(remote)
        if running is None or running.done():
            running = asyncio.create_task(self._fetch(remote), name=f"fetch {remote}")
            self._fetches[remote] = running
        await asyncio.shield(running)

    async def commit(self, remote: str, revision: str, branch: str) -> Commit:
        """The facts of a commit that the mirror has. Raises NotFound."""
        form = "%H%x00%an <%ae>%x00%ct%x00%B"
        answer = await self._in(remote, "show", "--no-patch", f"--format={form}", f"{revision}^{{commit}}")
        name, author, seconds, message = answer.decode(errors="replace").split("\0", 3)
        return Commit(
            hash=name.strip(), author=author, message=message.strip(), branch=branch, created_at=int(seconds)
        )

    async def changed_files(self, remote: str, old: str, new: str) -> list[str]:
        """Every path that differs between two commits; a renamed file counts under both names."""
        answer = await self._in(remote, "diff-tree", "-r", "-z", "--no-renames", "--name-only", old, new)
        return [name for name in answer.decode(errors="surrogateescape").split("\0") if name]

    async def files(self, remote: str, commit: str, under: str = "") -> list[str]:
        """Every file of a commit below `under`."""
        return [path for path, _ in await self.blobs(remote, commit, under)]

    async def blobs(self, remote: str, commit: str, under: str = "") -> list[tuple[str, str]]:
        """Path and content hash of every regular file of a commit below `under`."""
        where = ["--", under.rstrip("/") + "/"] if under.strip("./") else []
        answer = await self._in(remote, "ls-tree", "-r", "-z", "--full-tree", commit, *where)
        rows = (row.split("\t", 1) for row in answer.decode(errors="surrogateescape").split("\0") if row)
        return [(path, facts.split()[2]) for facts, path in rows if facts.startswith("100")]

    async def read(self, remote: str, commit: str, path: str) -> bytes:
        """A file of a commit. Raises NotFound; a link is not followed."""
        answer = await self._in(remote, "ls-tree", "-z", "--full-tree", commit, "--", path)
        facts = answer.split(b"\t")[0].split()
        if len(facts) != 3 or not facts[0].startswith(b"100"):
            raise NotFound(f"{path} is not a file of commit {commit[:7]}")
        return await self._in(remote, "cat-file", "blob", facts[2].decode())

    async def read_blobs(self, remote: str, names: Sequence[str]) -> dict[str, bytes]:
        """Many contents by their hash, in one call."""
        if not names:
            return {}
        asked = "".join(f"{name}\n" for name in names).encode()
        answer = await self._in(remote, "cat-file", "--batch", stdin=asked)
        contents, at = {}, 0
        for name in names:
            end = answer.index(b"\n", at)
            facts = answer[at:end].split()
            if len(facts) != 3:
                raise NotFound(f"the mirror has no object {name}")
            size = int(facts[2])
            contents[name] = answer[end + 1 : end + 1 + size]
            at = end + 1 + size + 1
        return contents

    async def merged(self, remote: str, base: str, head: str) -> str:
        """A commit that merges `head` into `base`; this mirror alone has it. Raises Refused for conflicts."""
        async with self._local:
            return await merge(self.path(remote), base, head, self._env)

    @asynccontextmanager
    async def worktree(self, remote: str, commit: str) -> AsyncIterator[Path]:
        """A copy of a commit's files, the caller's own to change; removed afterwards."""
        place = self._home / "worktrees" / uuid4().hex
        await asyncio.to_thread(place.mkdir, parents=True)
        try:
            # Not `git worktree`: a plain copy shares nothing with other copies, so none can disturb another.
            index = {**self._env, "GIT_INDEX_FILE": str(place) + ".index"}
            folder = ["--git-dir", str(self.path(remote)), "--work-tree", str(place)]
            async with self._local:
                await git(*folder, "read-tree", commit, env=index)
                await git(*folder, "checkout-index", "--all", "--force", env=index, cwd=place, timeout=300)
            yield place
        finally:
            Path(str(place) + ".index").unlink(missing_ok=True)
            await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)

    def path(self, remote: str) -> Path:
        """Where the mirror of `remote` is kept."""
        return self._home / "mirrors" / hashlib.sha256(remote.encode()).hexdigest()[:20]

    async def _fetch(self, remote: str) -> None:
        mirror = self.path(remote)
        if not (mirror / "complete").exists():
            await asyncio.to_thread(shutil.rmtree, mirror, ignore_errors=True)
            mirror.mkdir(parents=True)
            await self._git("init", "--quiet", "--bare", str(mirror))
        first = not (mirror / "complete").exists()
        await self._git(
            *("--git-dir", str(mirror), "fetch", "--quiet", "--prune", "--no-tags", "--force"),
            *("--no-recurse-submodules", "--no-auto-gc", "--", remote, "+refs/heads/*:refs/heads/*"),
            timeout=FIRST_FETCH_SECONDS if first else NETWORK_SECONDS,
        )
        (mirror / "complete").touch()

    async def _in(self, remote: str, *arguments: str, stdin: bytes = b"") -> bytes:
        mirror = self.path(remote)
        if not (mirror / "complete").exists():
            await self.fetch(remote)
        async with self._local:
            return await self._git("--git-dir", str(mirror), *arguments, stdin=stdin)

    async def _git(self, *arguments: str, timeout: float = 60.0, stdin: bytes = b"") -> bytes:
        return await git(*arguments, env=self._env, timeout=timeout, stdin=stdin)
