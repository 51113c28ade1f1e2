"""The head of each repository: its commit and the application files in it.

Called by `trigger`, `discovery` and others. An unchanged head costs one `ls-remote`, which calls at the same
time share; only a new head is fetched, and only files whose content changed are read and decoded. Only the
needed fields of each file are cached, never the decoded tree, because an agent may manage thousands of
applications.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from pipecd.clock import SYSTEM_CLOCK, Clock
from pipecd.config.application import Chain, Mention, Triggers
from pipecd.config.event_watcher import EventWatch
from pipecd.errors import ConfigError, NotFound, PipecdError, Place, Temporary
from pipecd.git.mirror import MAX_FILE_SIZE, Entry, Mirrors
from pipecd.git.tree import CHECKOUT_SETTINGS
from pipecd.model.deployment import Commit
from pipecd.piped.source.checkout import decode_config
from pipecd.piped.source.repository import Repositories, Repository

log = structlog.get_logger()

SUFFIXES = (".pipecd.yaml", ".pipe.yaml")
#: Files read and decoded in one go.
DECODE_BATCH_SIZE = 20
_DEFAULT_TRIGGERS = Triggers()


@dataclass(frozen=True, kw_only=True)
class AppFile:
    """The cached fields of a valid application file. `kind` is the platform's name."""

    kind: str
    name: str
    description: str
    labels: Mapping[str, str]
    trigger: Triggers
    chain: Chain | None
    event_watcher: Sequence[EventWatch] = ()
    mentions: Sequence[Mention] = ()


class MissingFile(ConfigError):
    """A registered application's file that is not in the repository."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """A repository at one commit. An invalid application file is present as its ConfigError."""

    repository: Repository
    commit: Commit
    files: Mapping[str, AppFile | ConfigError] = field(repr=False)
    #: Path of every directory, without the root → the hash of its contents, as Git computes it.
    directories: Mapping[str, str] = field(repr=False, default_factory=dict)
    #: Path of every file that changes how others are checked out (attributes, submodules) → its hash.
    checkout_settings: Mapping[str, str] = field(repr=False, default_factory=dict)


class Heads:
    def __init__(self, mirrors: Mirrors, repositories: Repositories, clock: Clock = SYSTEM_CLOCK) -> None:
        self.mirrors, self.repositories, self._clock = mirrors, repositories, clock
        self._heads: dict[str, Head] = {}
        self._decoded: dict[str, dict[tuple[str, str], AppFile | ConfigError]] = {}
        self._locks = {repo_id: asyncio.Lock() for repo_id in repositories}
        #: The number of calls of `load_head` so far, by repository.
        self._calls: Counter[str] = Counter()
        #: The last result of `ls-remote`, and how many calls had begun before it.
        self._on_remote: dict[str, tuple[int, str]] = {}

    async def load_head(self, repo_id: str, also: Iterable[str] = ()) -> Head:
        """The repository's current head. `also` names application files without the usual suffix.

        Raises Temporary when the remote is unreachable, ConfigError when it denies access.
        """
        repository = self.repositories[repo_id]
        extra_paths = frozenset(also)
        self._calls[repo_id] += 1
        call = self._calls[repo_id]
        async with self._locks[repo_id]:
            commit_hash = await self._find_on_remote(repository, call)
            cached = self._heads.get(repo_id)
            if cached and cached.commit.hash == commit_hash and extra_paths <= cached.files.keys():
                return cached
            commit = await self._load_commit(repository, commit_hash)
            entries = await self.mirrors.entries(repository.remote, commit.hash)
            files = await self._load_files(repository, commit, entries, extra_paths)
            directories, checkout_settings = await asyncio.to_thread(_select_hashes, entries)
            head = Head(
                repository=repository,
                commit=commit,
                files=files,
                directories=directories,
                checkout_settings=checkout_settings,
            )
            self._heads[repo_id] = head
            return head

    async def _find_on_remote(self, repository: Repository, call: int) -> str:
        """The head's hash, as it was on the remote after the `call`-th call of `load_head` had begun.

        A push wakes several loops at once. All that wait when `ls-remote` begins get its result.
        """
        calls, commit_hash = self._on_remote.get(repository.id, (0, ""))
        if calls < call:
            # Loops that were woken together call one after another.
            await self._clock.sleep(0)
            calls = self._calls[repository.id]
            commit_hash = await self.mirrors.head(repository.remote, repository.branch)
            self._on_remote[repository.id] = (calls, commit_hash)
        return commit_hash

    async def _load_commit(self, repository: Repository, commit_hash: str) -> Commit:
        for _ in range(2):
            try:
                return await self.mirrors.commit(repository.remote, commit_hash, repository.branch)
            except NotFound:
                # A fetch that was already running may have begun before the push.
                await self.mirrors.fetch(repository.remote)
        raise Temporary(
            f"{repository.remote} reports {repository.branch} at {commit_hash[:7]},"
            " but does not provide that commit"
        )

    async def _load_files(
        self,
        repository: Repository,
        commit: Commit,
        all_entries: Sequence[Entry],
        extra_paths: frozenset[str],
    ) -> Mapping[str, AppFile | ConfigError]:
        wanted = await asyncio.to_thread(_select_app_files, all_entries, extra_paths)
        entries = [(entry.path, entry.hash) for entry in wanted if entry.is_file]
        links = [entry.path for entry in wanted if entry.is_link]
        targets = await self.mirrors.find_files(repository.remote, commit.hash, links)
        entries += [(path, target) for path, target in targets.items() if isinstance(target, str)]
        cached = self._decoded.get(repository.id, {})
        uncached = [entry for entry in entries if entry not in cached]
        decoded: dict[tuple[str, str], AppFile | ConfigError] = {}
        for start in range(0, len(uncached), DECODE_BATCH_SIZE):
            batch = uncached[start : start + DECODE_BATCH_SIZE]
            contents = await self.mirrors.read_blobs(repository.remote, [blob for _, blob in batch])
            decoded |= await asyncio.to_thread(_decode_app_files, batch, contents)
        files = {entry: cached[entry] if entry in cached else decoded[entry] for entry in entries}
        self._decoded[repository.id] = files
        errors = {path: _missing_file_error(path) for path in extra_paths} | {
            path: ConfigError(str(target), place=Place(path))
            for path, target in targets.items()
            if isinstance(target, PipecdError)
        }
        return errors | {path: file for (path, _), file in files.items()}


def _select_app_files(entries: Sequence[Entry], extra_paths: frozenset[str]) -> list[Entry]:
    return [entry for entry in entries if entry.path.endswith(SUFFIXES) or entry.path in extra_paths]


def _select_hashes(entries: Sequence[Entry]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Path → hash of directories, and of files that change how others are checked out."""
    directories = {entry.path: entry.hash for entry in entries if entry.mode == "040000"}
    settings = {
        entry.path: entry.hash for entry in entries if entry.path.rpartition("/")[2] in CHECKOUT_SETTINGS
    }
    return directories, settings


def _decode_app_files(
    entries: Iterable[tuple[str, str]], contents: Mapping[str, bytes]
) -> dict[tuple[str, str], AppFile | ConfigError]:
    return {
        (path, blob): _decode_app_file(contents[blob], path) if blob in contents else _too_large_error(path)
        for path, blob in entries
    }


def _decode_app_file(content: bytes, path: str) -> AppFile | ConfigError:
    try:
        config = decode_config(content, path)
    except ConfigError as error:
        # A new error: the original's traceback would keep the whole decoded tree in memory.
        return ConfigError(error.what, remedy=error.remedy, place=error.place)
    except Exception as error:
        # A platform's types may raise anything; the other applications of the repository do not depend on it.
        log.exception("unhandled_error", file=path)
        return ConfigError(
            f"internal error while the file was decoded: {type(error).__name__}",
            remedy="report it with the agent's log",
            place=Place(path),
        )
    spec = config.spec
    return AppFile(
        kind=config.kind,
        name=spec.name,
        description=spec.description,
        labels=dict(spec.labels),
        trigger=_DEFAULT_TRIGGERS if spec.trigger == _DEFAULT_TRIGGERS else spec.trigger,
        chain=spec.post_sync.chain,
        event_watcher=tuple(spec.event_watcher),
        mentions=tuple(spec.notification.mentions),
    )


def _too_large_error(path: str) -> ConfigError:
    return ConfigError(f"the file has more than {MAX_FILE_SIZE >> 20} MiB", place=Place(path))


def _missing_file_error(path: str) -> MissingFile:
    return MissingFile(
        f"{path}: there is no such file at the head of the branch",
        remedy="restore the file, or change the application's path or configuration file name",
    )
