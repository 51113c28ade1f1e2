"""Writes all files of a commit into a directory, as Git's own checkout does, with submodules and LFS files.

Called for every checkout. A file or directory that cannot be fetched is an error, never an empty directory or
an LFS pointer: for Terraform an empty module means that everything in it is destroyed. What the repository
excludes (`update = none` in .gitmodules, `fetchexclude` in .lfsconfig) is absent, and reported to the caller.

Of .gitattributes, `text`, `eol`, `ident` and `working-tree-encoding` have their effect, as in any checkout on
Linux; `export-subst` and `export-ignore` have none, because they are for archives. No filter is ever run.
"""

import asyncio
import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipecd.errors import ConfigError, NotFound, PipecdError, Place, Refused, Temporary, UserError
from pipecd.git.access import Access, resolve_relative
from pipecd.git.command import git
from pipecd.git.leftovers import remove_locks, remove_unused
from pipecd.git.lfs import LfsFiles, Pointer, is_excluded, read_pointer

#: Seconds.
CHECKOUT_TIMEOUT = 300.0
FETCH_TIMEOUT = 300.0
#: Of one checkout: submodules, including nested ones, and how deep they are nested.
MAX_SUBMODULES, MAX_DEPTH = 100, 5
#: How long the repository of a submodule is kept after its last use (seconds).
UNUSED_SECONDS = 30 * 86_400.0
#: Bytes of .gitmodules and .lfsconfig.
MAX_CONFIG_SIZE = 256 * 1024
#: Names of files that change how other files are checked out.
CHECKOUT_SETTINGS = (".gitattributes", ".gitmodules", ".lfsconfig")
#: The first bytes of a file that git-crypt encrypted.
_GIT_CRYPT = b"\0GITCRYPT\0"
_GITLINK, _FILE_MODES = "160000", ("100644", "100755")


@dataclass(frozen=True)
class _Listing:
    """What a commit contains that Git does not write by itself. `submodules` has path → commit."""

    submodules: Mapping[str, str]
    #: Names of files in the root.
    root_files: Collection[str]
    has_attributes: bool


@dataclass(frozen=True)
class _Repository:
    """One repository of a checkout. `path` is its directory in the checkout; the first one's is empty."""

    git_dir: Path
    commit: str
    remote: str
    path: str = ""
    depth: int = 0

    def full(self, path: str) -> str:
        return str(PurePosixPath(self.path, path))

    def place(self, file: str, key: str = "") -> Place:
        return Place(self.full(file), key=key)


class Trees:
    """`home` holds what is cached between checkouts: the repositories of submodules, and LFS files."""

    def __init__(self, home: Path, access: Access, processes: asyncio.Semaphore) -> None:
        """`processes` limits the `git` processes that write files."""
        self.access, self.processes = access, processes
        self._stores = home / "submodules"
        self.lfs = LfsFiles(home / "lfs", access)
        self._locks: dict[str, asyncio.Lock] = {}

    async def write(
        self,
        git_dir: Path,
        commit: str,
        directory: Path,
        *,
        remote: str,
        env: Mapping[str, str],
        under: str = "",
        only: Sequence[str] = (),
    ) -> Sequence[str]:
        """Write `commit` of `git_dir`, a copy of `remote`, into the empty `directory`.

        Returns the paths that the repository excludes, which are absent. Submodules and LFS files outside the
        directory `under` are not fetched. If directories are given as `only`, nothing outside of them is
        written, except files that change how others are written. `env` is that of `environment`. Raises
        ConfigError or Refused with the path, or Temporary.
        """
        work = _Work(self, directory, env, only or (under,), only=bool(only))
        try:
            await work.write(_Repository(git_dir, commit, remote))
        finally:
            work.index.unlink(missing_ok=True)
        return work.excluded

    def remove_leftovers(self) -> None:
        """At the start: remove what a killed process left, and submodules that were not used for long."""
        remove_unused(self._stores, UNUSED_SECONDS)
        self.lfs.remove_parts()

    async def fetch_commit(self, remote: str, commit: str, env: Mapping[str, str]) -> Path:
        """The store of a submodule's repository, which has `commit`. Raises NotFound."""
        store = self._stores / hashlib.sha256(remote.encode()).hexdigest()[:20]
        async with self._locks.setdefault(remote, asyncio.Lock()):
            options = ("--git-dir", str(store))
            if not (store / "HEAD").exists():
                await git("init", "--quiet", "--bare", str(store), env=env)
            with suppress(PipecdError):
                await git(*options, "cat-file", "-e", f"{commit}^{{commit}}", env=env)
                os.utime(store)
                return store
            await asyncio.to_thread(remove_locks, store)
            env = self.access.environment(env, remote)
            fetch = (
                *(*options, "fetch", "--quiet", "--no-tags", "--force"),
                *("--no-recurse-submodules", "--no-auto-gc"),
            )
            # A reference keeps the commit from being pruned.
            wanted = ("--depth=1", "--", remote, f"{commit}:refs/pipecd/{commit}")
            try:
                await git(*fetch, *wanted, env=env, timeout=FETCH_TIMEOUT)
            except NotFound:
                # A server may refuse to send a commit that no branch or tag points at.
                everything = ("--", remote, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
                await git(*fetch, *everything, env=env, timeout=FETCH_TIMEOUT)
                await git(*options, "cat-file", "-e", f"{commit}^{{commit}}", env=env)
        return store


def refuse_excluded(excluded: Iterable[str], directory: str) -> None:
    """Raise Refused if a path that the repository excludes is in `directory`, or contains it."""
    for path in excluded:
        if is_inside(path, directory) or is_inside(directory, path):
            raise Refused(
                f"{path} is excluded from checkouts, but is part of what is deployed",
                remedy="remove `update = none` from .gitmodules, or the pattern from .lfsconfig",
            )


def is_inside(path: str, directory: str) -> bool:
    """Whether `path` is `directory` or below it, both relative to the repository's root."""
    return PurePosixPath(path).is_relative_to(PurePosixPath(directory))


@dataclass
class _Work:
    """One checkout."""

    trees: Trees
    directory: Path
    env: Mapping[str, str]
    #: Submodules and LFS files outside of these directories are not fetched.
    wanted: Sequence[str]
    #: Whether only these directories are written.
    only: bool = False
    excluded: list[str] = field(default_factory=list)
    submodules: int = 0

    @property
    def index(self) -> Path:
        return Path(f"{self.directory}.index")

    async def write(self, repository: _Repository) -> None:
        self.index.unlink(missing_ok=True)
        narrow = self.only and not repository.path
        update = () if narrow else ("-u",)
        await self._git(
            repository, "read-tree", "--reset", *update, repository.commit, timeout=CHECKOUT_TIMEOUT
        )
        output = await self._git(repository, "ls-files", "-s", "-z")
        if narrow:
            paths = await asyncio.to_thread(_select_paths, output, self.wanted)
            arguments = ("checkout-index", "--quiet", "-z", "--stdin")
            await self._git(repository, *arguments, stdin=paths, timeout=CHECKOUT_TIMEOUT)
        listing = await asyncio.to_thread(_parse_listing, output)
        if listing.has_attributes:
            await self._write_lfs_files(repository, listing)
        if listing.submodules:
            await self._write_submodules(repository, listing)

    async def _write_lfs_files(self, repository: _Repository, listing: _Listing) -> None:
        output = await self._git(
            repository, "ls-files", "-z", "--", ":(attr:filter=lfs)", ":(attr:filter=git-crypt)"
        )
        paths = [path for path in output.decode(errors="surrogateescape").split("\0") if path]
        paths = [path for path in paths if self._is_wanted(repository.full(path))]
        pointers = await asyncio.to_thread(self._read_pointers, repository, paths)
        if not pointers:
            return
        config = await self._config(repository, ".lfsconfig", listing)
        excluded = [pointer for pointer in pointers if is_excluded(pointer.path, config)]
        for pointer in excluded:
            (self.directory / repository.path / pointer.path).unlink()
            self.excluded.append(repository.full(pointer.path))
        wanted = [pointer for pointer in pointers if pointer not in excluded]
        root = self.directory / repository.path
        place = repository.place(wanted[0].path) if wanted else repository.place(".lfsconfig")
        await self.trees.lfs.write(
            wanted, root, remote=repository.remote, url=config.get("lfs.url", ""), env=self.env, place=place
        )

    def _read_pointers(self, repository: _Repository, paths: Sequence[str]) -> list[Pointer]:
        pointers = []
        for path in paths:
            file = self.directory / repository.path / path
            if file.is_symlink() or not file.is_file():
                continue
            with file.open("rb") as stream:
                head = stream.read(len(_GIT_CRYPT))
            if head == _GIT_CRYPT:
                raise Refused(
                    "the file is encrypted with git-crypt, which the agent cannot decrypt",
                    remedy="encrypt the secret with `pipectl encrypt`, and list it in spec.encryption",
                    place=repository.place(path),
                )
            if pointer := read_pointer(file, path, repository.place(path)):
                pointers.append(pointer)
        return pointers

    async def _write_submodules(self, repository: _Repository, listing: _Listing) -> None:
        config = await self._config(repository, ".gitmodules", listing)
        names = {
            value: key.removeprefix("submodule.").removesuffix(".path")
            for key, value in config.items()
            if key.startswith("submodule.") and key.endswith(".path")
        }
        for path, commit in listing.submodules.items():
            full = repository.full(path)
            if not self._is_wanted(full):
                continue
            name = names.get(path)
            url = config.get(f"submodule.{name}.url", "")
            place = repository.place(".gitmodules", f'submodule "{name or path}"')
            if not url:
                raise Refused(
                    f"the submodule {full} has no URL",
                    remedy=f"add it with `git submodule add`, or remove it with `git rm --cached {path}`",
                    place=place,
                )
            if config.get(f"submodule.{name}.update") == "none":
                await asyncio.to_thread((self.directory / full).rmdir)
                self.excluded.append(full)
                continue
            await self._write_submodule(repository, full, commit, url, place)

    async def _write_submodule(
        self, parent: _Repository, path: str, commit: str, url: str, place: Place
    ) -> None:
        self.submodules += 1
        depth = parent.depth + 1
        if self.submodules > MAX_SUBMODULES or depth > MAX_DEPTH:
            raise Refused(
                f"the repository has more than {MAX_SUBMODULES} submodules, or nests them more than"
                f" {MAX_DEPTH} deep",
                remedy="set `update = none` in .gitmodules for those that no application needs",
                place=place,
            )
        remote = resolve_relative(url, parent.remote)
        self.trees.access.check(remote, parent.remote, f"the submodule {path}:", place)
        try:
            store = await self.trees.fetch_commit(remote, commit, self.env)
        except NotFound:
            raise ConfigError(
                f"the submodule {path} needs commit {commit[:12]}, which {remote} does not have",
                remedy="push the submodule's commit to its repository",
                place=place,
            ) from None
        except UserError as error:
            raise ConfigError(
                f"the submodule {path} cannot be fetched: {error.what}", remedy=error.remedy, place=place
            ) from error
        except Temporary as error:
            raise Temporary(f"the submodule {path} cannot be fetched: {error}") from error
        await self.write(_Repository(store, commit, remote, path, depth))

    async def _config(self, repository: _Repository, name: str, listing: _Listing) -> Mapping[str, str]:
        """The settings in a file of Git's configuration syntax in the root; empty without the file."""
        if name not in listing.root_files:
            return {}
        file = self.directory / repository.path / name
        if file.stat().st_size > MAX_CONFIG_SIZE:
            raise Refused(
                f"the file is larger than {MAX_CONFIG_SIZE >> 10} KiB", place=repository.place(name)
            )
        try:
            output = await self._git(repository, "config", "--file", name, "--no-includes", "--list", "-z")
        except Temporary as error:
            raise ConfigError(
                str(error), remedy="correct the file's syntax", place=repository.place(name)
            ) from error
        entries = output.decode(errors="surrogateescape").split("\0")
        return dict(entry.split("\n", 1) for entry in entries if "\n" in entry)

    async def _git(
        self, repository: _Repository, *arguments: str, timeout: float = 60.0, stdin: bytes = b""
    ) -> bytes:
        work_tree = self.directory / repository.path
        options = ("--git-dir", str(repository.git_dir), "--work-tree", str(work_tree))
        env = {**self.env, "GIT_INDEX_FILE": str(self.index)}
        # Downloads are not counted, so that a slow server does not delay other checkouts.
        async with self.trees.processes:
            return await git(*options, *arguments, env=env, cwd=work_tree, timeout=timeout, stdin=stdin)

    def _is_wanted(self, path: str) -> bool:
        return any(is_inside(path, directory) or is_inside(directory, path) for directory in self.wanted)


def _select_paths(output: bytes, directories: Sequence[str]) -> bytes:
    """Of `ls-files -s -z`: the paths inside `directories`, and the settings for them, each with a NUL."""
    inside = tuple(f"{directory}/".encode(errors="surrogateescape") for directory in directories)
    parents = {parent for directory in directories for parent in PurePosixPath(directory).parents}
    settings = {
        str(parent / name).encode(errors="surrogateescape")
        for parent in parents
        for name in CHECKOUT_SETTINGS
    }
    paths = (row.partition(b"\t")[2] for row in output.split(b"\0"))
    return b"".join(path + b"\0" for path in paths if path.startswith(inside) or path in settings)


def _parse_listing(output: bytes) -> _Listing:
    """`ls-files -s -z` prints mode, hash, stage and path."""
    submodules, root_files, has_attributes = {}, set(), False
    for row in output.decode(errors="surrogateescape").split("\0"):
        entry, _, path = row.partition("\t")
        mode = entry[:6]
        if mode == _GITLINK:
            submodules[path] = entry.split()[1]
        elif mode in _FILE_MODES:
            has_attributes = has_attributes or path.endswith(".gitattributes")
            if path.startswith(".") and "/" not in path:
                root_files.add(path)
    return _Listing(submodules, root_files, has_attributes)
