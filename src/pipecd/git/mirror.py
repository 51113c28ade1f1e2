"""One bare mirror per repository, shared by all readers. The remotes are those of the agent's configuration.

The agent asks a remote for its head (one cheap call), fetches when the head is new, and reads files directly
from the mirror. Concurrent fetches of a remote share one `git fetch`. A mirror whose creation was interrupted
is created again. Mirrors are a cache: the directory may be deleted at any time.
"""

import asyncio
import hashlib
import io
import posixpath
import shutil
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self
from uuid import uuid4

from pipecd.errors import ConfigError, NotFound, PipecdError
from pipecd.git.access import Access
from pipecd.git.command import git
from pipecd.git.credentials import Credentials, User, environment, program_environment, with_password
from pipecd.git.leftovers import remove_locks
from pipecd.git.merge import merge_commits
from pipecd.git.push import commit_files, push_commit
from pipecd.git.shared_checkouts import Checkout, SharedCheckouts
from pipecd.git.tree import Trees, refuse_excluded
from pipecd.model.deployment import Commit

#: Seconds.
NETWORK_TIMEOUT = 60.0
#: For the fetch that creates a mirror (seconds).
FIRST_FETCH_TIMEOUT = 900.0
#: Bytes of a file that is read into memory, and how many such files are read in one call.
MAX_FILE_SIZE, BLOBS_AT_ONCE = 2 * 1024 * 1024, 20
#: Characters of a commit message; the rest of a longer one is not used.
MAX_MESSAGE_LENGTH = 64 * 1024
#: Number of concurrent `git` processes that read mirrors.
MAX_LOCAL_PROCESSES = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a commit. `mode` and `hash` are Git's; `040000` is a directory, `120000` a link."""

    mode: str
    hash: str
    path: str

    @property
    def is_file(self) -> bool:
        return self.mode.startswith("100")

    @property
    def is_link(self) -> bool:
        return self.mode == "120000"


class MissingBranch(ConfigError):
    """The remote has no such branch."""


class Mirrors:
    """An async context manager: the environment with the credentials exists only inside the block."""

    def __init__(
        self,
        home: Path,
        credentials: Credentials,
        user: User,
        *,
        remotes: Collection[str] = (),
        submodule_hosts: Collection[str] = (),
    ) -> None:
        """`remotes` and `submodule_hosts` are those of `Access`."""
        self._home, self._credentials, self._user = home, credentials, user
        access = Access(credentials=credentials, remotes=remotes, submodule_hosts=submodule_hosts)
        #: Limits the `git` processes that use mirrors, independent of the number of applications.
        self._local = asyncio.Semaphore(MAX_LOCAL_PROCESSES)
        self.trees = Trees(home, access, self._local)
        self.shared_checkouts = SharedCheckouts(self._write_checkout)
        self._fetches: dict[str, asyncio.Task[None]] = {}
        self._stack = AsyncExitStack()
        self._env: Mapping[str, str] = {}
        #: Variables with which other programs read from Git with the agent's credentials. Contains secrets.
        self.download_env: Mapping[str, str] = {}

    async def __aenter__(self) -> Self:
        try:
            self._home.mkdir(parents=True, exist_ok=True)
            self._env = self._stack.enter_context(environment(self._credentials, self._user, self._home))
            access = self.trees.access
            self.download_env = program_environment(self._env, self._credentials, access.remotes)
        except OSError as error:
            raise ConfigError(
                f"cannot write to {self._home}: {error.strerror}",
                remedy="use a home directory that the agent can write to",
            ) from error
        # Remove the checkouts of a killed process.
        shutil.rmtree(self._home / "worktrees", ignore_errors=True)
        self.trees.remove_leftovers()
        return self

    async def __aexit__(self, *_: object) -> None:
        for fetch in self._fetches.values():
            fetch.cancel()
        await asyncio.gather(*self._fetches.values(), return_exceptions=True)
        await self.shared_checkouts.close()
        await self._stack.aclose()
        shutil.rmtree(self._home / "worktrees", ignore_errors=True)

    async def head(self, remote: str, branch: str) -> str:
        """The hash of the commit that `branch` points at on the remote, without fetching it.

        Raises MissingBranch.
        """
        output = await git(
            *("ls-remote", "--", remote, f"refs/heads/{branch}"),
            env=self._network_env(remote),
            timeout=NETWORK_TIMEOUT,
        )
        if not output.strip():
            raise MissingBranch(
                f"{remote} has no branch {branch}",
                remedy="push the branch, or correct it in the configuration",
            )
        return output.split()[0].decode()

    async def branches(self, remote: str, pattern: str) -> dict[str, str]:
        """The branches of the remote that match the pattern, and their commits, without fetching them."""
        output = await git(
            *("ls-remote", "--", remote, f"refs/heads/{pattern}"),
            env=self._network_env(remote),
            timeout=NETWORK_TIMEOUT,
        )
        lines = (line.split("\t", 1) for line in output.decode(errors="replace").splitlines())
        return {name.removeprefix("refs/heads/"): commit for commit, name in lines}

    async def fetch(self, remote: str) -> None:
        """Update the mirror. Concurrent callers share one fetch and its result."""
        running = self._fetches.get(remote)
        if running is None or running.done():
            running = asyncio.create_task(self._fetch(remote), name=f"fetch {remote}")
            self._fetches[remote] = running
        await asyncio.shield(running)

    async def commit(self, remote: str, revision: str, branch: str) -> Commit:
        """The metadata of a commit in the mirror. Raises NotFound."""
        output_format = "%H%x00%an <%ae>%x00%ct%x00%B"
        output = await self._git_in_mirror(
            remote, "show", "--no-patch", f"--format={output_format}", f"{revision}^{{commit}}"
        )
        commit_hash, author, seconds, message = output.decode(errors="replace").split("\0", 3)
        return Commit(
            hash=commit_hash.strip(),
            author=author,
            message=message[:MAX_MESSAGE_LENGTH].strip(),
            branch=branch,
            created_at=int(seconds),
        )

    async def commits_between(
        self, remote: str, old: str, new: str, branch: str, *, directory: str, limit: int
    ) -> list[Commit]:
        """The newest `limit` commits after `old`, up to `new`, that change `directory`; newest first.

        An empty directory, `.` or `./` is the root: then all commits.
        """
        normal = posixpath.normpath(directory or ".")
        paths = () if normal == "." else (f":(top,literal){normal}",)
        output = await self._git_in_mirror(
            remote,
            *("log", "-z", f"--max-count={limit}", "--format=%H%x00%an <%ae>%x00%ct%x00%B"),
            *(f"{old}..{new}", "--", *paths),
        )
        parts = output.decode(errors="replace").split("\0")
        return [
            Commit(
                hash=commit_hash.strip(),
                author=author,
                message=message[:MAX_MESSAGE_LENGTH].strip(),
                branch=branch,
                created_at=int(seconds),
            )
            for commit_hash, author, seconds, message in zip(*[iter(parts)] * 4, strict=False)
        ]

    async def ensure_commit(self, remote: str, commit: str) -> bool:
        """Fetch if the mirror lacks the commit, which another process may know already. Whether it did."""
        try:
            await self.commit(remote, commit, "")
        except NotFound:
            await self.fetch(remote)
            return True
        return False

    async def changed_files(self, remote: str, old: str, new: str) -> list[str]:
        """All paths that differ between two commits; a renamed file is listed under both names."""
        output = await self._git_in_mirror(
            remote, "diff-tree", "-r", "-z", "--no-renames", "--name-only", old, new
        )
        return [name for name in output.decode(errors="surrogateescape").split("\0") if name]

    async def entries(self, remote: str, commit: str, directory: str = "") -> list[Entry]:
        """All directories, files, links and submodules of a commit, or of one directory, without the root."""
        below = ("--", f"{directory}/") if directory else ()
        output = await self._git_in_mirror(remote, "ls-tree", "-r", "-t", "-z", "--full-tree", commit, *below)
        # Parsing a large repository takes a noticeable part of a second.
        return await asyncio.to_thread(_parse_entries, output)

    async def find_entries(self, remote: str, commit: str, paths: Sequence[str]) -> dict[str, Entry]:
        """The entries of a commit at `paths`; links are not followed."""
        arguments = ("--literal-pathspecs", "ls-tree", "-z", "--full-tree", commit, "--", *paths)
        output = await self._git_in_mirror(remote, *arguments)
        return {entry.path: entry for entry in _parse_entries(output)}

    async def read(self, remote: str, commit: str, path: str) -> bytes:
        """The content of a file in a commit, at most `MAX_FILE_SIZE`. Follows links inside the repository.

        Raises NotFound, or ConfigError if the file is too large or a link points outside the repository.
        """
        (blob,) = (await self.find_files(remote, commit, [path])).values()
        if isinstance(blob, PipecdError):
            raise blob
        return await self._git_in_mirror(remote, "cat-file", "blob", blob)

    async def find_files(
        self, remote: str, commit: str, paths: Sequence[str]
    ) -> dict[str, str | ConfigError | NotFound]:
        """The blob hash of each file, or the error that `read` raises for it."""
        if not paths:
            return {}
        # Git reads one path a line, so that it cannot be asked for others.
        found: dict[str, str | ConfigError | NotFound] = {
            path: NotFound(f"{path!r} contains a line break") for path in paths if "\n" in path
        }
        readable = [path for path in paths if path not in found]
        stdin = "".join(f"{commit}:{path}\n" for path in readable).encode(errors="surrogateescape")
        output = await self._git_in_mirror(
            remote, "cat-file", "--batch-check", "--follow-symlinks", stdin=stdin
        )
        reader = io.BytesIO(output)
        return found | {path: _parse_object(reader, path, commit) for path in readable}

    async def read_blobs(self, remote: str, hashes: Sequence[str]) -> dict[str, bytes]:
        """The contents of several blobs by their hash, except those of more than `MAX_FILE_SIZE`."""
        if not hashes:
            return {}
        stdin = "".join(f"{blob_hash}\n" for blob_hash in hashes).encode()
        output = await self._git_in_mirror(remote, "cat-file", "--batch-check", stdin=stdin)
        sizes = [line.split()[-1] for line in output.splitlines()]
        small = [
            blob_hash
            for blob_hash, size in zip(hashes, sizes, strict=True)
            if not size.isdigit() or int(size) <= MAX_FILE_SIZE
        ]
        contents: dict[str, bytes] = {}
        for start in range(0, len(small), BLOBS_AT_ONCE):
            contents |= await self._read_blobs(remote, small[start : start + BLOBS_AT_ONCE])
        return contents

    async def _read_blobs(self, remote: str, hashes: Sequence[str]) -> dict[str, bytes]:
        stdin = "".join(f"{blob_hash}\n" for blob_hash in hashes).encode()
        output = await self._git_in_mirror(remote, "cat-file", "--batch", stdin=stdin)
        contents, position = {}, 0
        for blob_hash in hashes:
            end = output.index(b"\n", position)
            header = output[position:end].split()
            if len(header) != 3:
                raise NotFound(f"the mirror has no object {blob_hash}")
            size = int(header[2])
            contents[blob_hash] = output[end + 1 : end + 1 + size]
            position = end + 1 + size + 1
        return contents

    async def merge(self, remote: str, base: str, head: str) -> str:
        """A commit that merges `head` into `base`, only in this mirror. Raises Refused for conflicts."""
        async with self._local:
            return await merge_commits(self.path(remote), base, head, self._env)

    async def commit_files(
        self, remote: str, parent: str, files: Mapping[str, tuple[str, bytes]], message: str
    ) -> str:
        """A commit on `parent`, only in this mirror, in which `files` have these modes and contents."""
        async with self._local:
            return await commit_files(self.path(remote), parent, files, message, self._env)

    async def push(self, remote: str, commit: str, branch: str, *, expected: str | None = None) -> None:
        """Make `branch` of the remote point at `commit`. Raises Conflict if the branch moved, and Refused.

        With `expected`, the branch is rewritten if it points at that commit ("": if it does not exist).
        """
        await push_commit(self.path(remote), remote, commit, branch, expected, self._network_env(remote))

    async def find_trailers(self, remote: str, commit: str, key: str, limit: int) -> set[str]:
        """The values of the trailer `key` in the last `limit` commits up to `commit`."""
        trailers = f"%(trailers:key={key},valueonly,unfold)"
        output = await self._git_in_mirror(remote, "log", f"-{limit}", f"--format={trailers}", commit)
        return {line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()}

    @asynccontextmanager
    async def worktree(self, remote: str, commit: str, required: str = "") -> AsyncIterator[Path]:
        """A copy of a commit's files, which the caller may change; removed when the block ends.

        Raises Refused if the repository excludes something in the directory `required` from checkouts.
        """
        checkout = await self._write_checkout(remote, commit)
        try:
            refuse_excluded(checkout.excluded, required)
            yield checkout.root
        finally:
            await asyncio.to_thread(shutil.rmtree, checkout.root, ignore_errors=True)

    @asynccontextmanager
    async def empty_directory(self) -> AsyncIterator[Path]:
        """A directory beside the checkouts; removed when the block ends."""
        directory = await self._make_directory()
        try:
            yield directory
        finally:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def _make_directory(self) -> Path:
        directory = self._home / "worktrees" / uuid4().hex
        await asyncio.to_thread(directory.mkdir, parents=True)
        return directory

    async def _write_checkout(self, remote: str, commit: str, only: Sequence[str] = ()) -> Checkout:
        """Of the directories `only`, if any are given."""
        directory = await self._make_directory()
        try:
            # A plain copy instead of `git worktree`: it shares no state with other copies.
            excluded = await self.trees.write(
                self.path(remote), commit, directory, remote=remote, env=self._env, only=only
            )
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
            raise
        return Checkout(directory, excluded, only)

    def path(self, remote: str) -> Path:
        """The directory of the mirror of `remote`."""
        return self._home / "mirrors" / hashlib.sha256(remote.encode()).hexdigest()[:20]

    async def _fetch(self, remote: str) -> None:
        mirror = self.path(remote)
        if not (mirror / "complete").exists():
            await asyncio.to_thread(shutil.rmtree, mirror, ignore_errors=True)
            # It exists if something in it could not be removed.
            mirror.mkdir(parents=True, exist_ok=True)
            await self._git("init", "--quiet", "--bare", str(mirror))
        first = not (mirror / "complete").exists()
        await asyncio.to_thread(remove_locks, mirror)
        await git(
            *("--git-dir", str(mirror), "fetch", "--quiet", "--prune", "--no-tags", "--force"),
            *("--no-recurse-submodules", "--no-auto-gc", "--", remote, "+refs/heads/*:refs/heads/*"),
            env=self._network_env(remote),
            timeout=FIRST_FETCH_TIMEOUT if first else NETWORK_TIMEOUT,
        )
        (mirror / "complete").touch()

    async def _git_in_mirror(self, remote: str, *arguments: str, stdin: bytes = b"") -> bytes:
        mirror = self.path(remote)
        if not (mirror / "complete").exists():
            await self.fetch(remote)
        async with self._local:
            return await self._git("--git-dir", str(mirror), *arguments, stdin=stdin)

    def _network_env(self, remote: str) -> Mapping[str, str]:
        return with_password(self._env, self._credentials, [remote])

    async def _git(self, *arguments: str, timeout: float = 60.0, stdin: bytes = b"") -> bytes:
        return await git(*arguments, env=self._env, timeout=timeout, stdin=stdin)


def _parse_object(reader: BinaryIO, path: str, commit: str) -> str | ConfigError | NotFound:
    """The next answer of `cat-file --batch-check --follow-symlinks`."""
    line = reader.readline()
    kind, _, rest = line.partition(b" ")
    if kind in (b"symlink", b"dangling", b"loop", b"notdir"):
        reader.read(int(rest) + 1)
        if kind == b"symlink":
            return ConfigError(
                f"the link {path} points outside the repository",
                remedy="replace it with a file, or with a relative link inside the repository",
            )
        return NotFound(f"{path} is a link to something that is not in commit {commit[:7]}")
    fields = line.split()
    if len(fields) != 3 or fields[1] != b"blob":
        return NotFound(f"{path} is not a file of commit {commit[:7]}")
    if int(fields[2]) > MAX_FILE_SIZE:
        return ConfigError(f"{path} has {int(fields[2])} bytes; the limit is {MAX_FILE_SIZE}")
    return fields[0].decode()


def _parse_entries(output: bytes) -> list[Entry]:
    """`ls-tree -z` prints mode, type, hash and path."""
    rows = (row.split("\t", 1) for row in output.decode(errors="surrogateescape").split("\0") if row)
    fields = ((row[0].split(), row[1]) for row in rows)
    return [Entry(mode=entry[0], hash=entry[2], path=path) for entry, path in fields]
