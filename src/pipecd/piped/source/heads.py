"""What the head of each repository holds: its commit, and the application files in it.

Asked by `trigger` and `discovery`. A look costs one `ls-remote`; only a new head is fetched, and only
files whose content changed are read and decoded. Of each file a few facts are kept, never its tree:
an agent may look after thousands of applications.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from pipecd.config.application import Chain, Triggers
from pipecd.errors import ConfigError, NotFound, Temporary
from pipecd.git.mirror import Mirrors
from pipecd.model.deployment import Commit
from pipecd.piped.source.checkout import decoded
from pipecd.piped.source.repository import Repositories, Repository

log = structlog.get_logger()

SUFFIXES = (".pipecd.yaml", ".pipe.yaml")
#: How many files are decoded before other work gets its turn.
BATCH = 20
_USUAL = Triggers()


@dataclass(frozen=True, kw_only=True)
class AppFile:
    """What is remembered of a sound application file. `kind` is the platform's name."""

    kind: str
    name: str
    description: str
    labels: Mapping[str, str]
    trigger: Triggers
    chain: Chain | None


@dataclass(frozen=True, kw_only=True)
class Head:
    """A repository at one commit. A file that does not decode is there as its error."""

    repository: Repository
    commit: Commit
    files: Mapping[str, AppFile | ConfigError] = field(repr=False)


class Heads:
    def __init__(self, mirrors: Mirrors, repositories: Repositories) -> None:
        self.mirrors, self.repositories = mirrors, repositories
        self._known: dict[str, Head] = {}
        self._decoded: dict[str, dict[tuple[str, str], AppFile | ConfigError]] = {}
        self._locks = {repo_id: asyncio.Lock() for repo_id in repositories}

    async def look(self, repo_id: str, also: Iterable[str] = ()) -> Head:
        """The repository's head now. `also` names application files that are not called like one.

        Raises Temporary when the remote is away, ConfigError when it refuses us.
        """
        repository = self.repositories[repo_id]
        extra = frozenset(also)
        async with self._locks[repo_id]:
            name = await self.mirrors.head(repository.remote, repository.branch)
            known = self._known.get(repo_id)
            if known and known.commit.hash == name and extra <= known.files.keys():
                return known
            commit = await self._commit(repository, name)
            head = Head(
                repository=repository, commit=commit, files=await self._files(repository, commit, extra)
            )
            self._known[repo_id] = head
            return head

    async def _commit(self, repository: Repository, name: str) -> Commit:
        for _ in range(2):
            try:
                return await self.mirrors.commit(repository.remote, name, repository.branch)
            except NotFound:
                # A fetch that was under way already may have begun before the push.
                await self.mirrors.fetch(repository.remote)
        raise Temporary(
            f"{repository.remote} says that {repository.branch} is at {name[:7]}, and does not give it"
        )

    async def _files(
        self, repository: Repository, commit: Commit, extra: frozenset[str]
    ) -> Mapping[str, AppFile | ConfigError]:
        blobs = await self.mirrors.blobs(repository.remote, commit.hash)
        wanted = [(path, blob) for path, blob in blobs if path.endswith(SUFFIXES) or path in extra]
        before = self._decoded.get(repository.id, {})
        missing = [entry for entry in wanted if entry not in before]
        fresh: dict[tuple[str, str], AppFile | ConfigError] = {}
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            texts = await self.mirrors.read_blobs(repository.remote, [blob for _, blob in batch])
            fresh |= {(path, blob): _facts(texts[blob], path) for path, blob in batch}
        found = {entry: before[entry] if entry in before else fresh[entry] for entry in wanted}
        self._decoded[repository.id] = found
        gone = {path: _gone(path) for path in extra}
        return gone | {path: facts for (path, _), facts in found.items()}


def _facts(text: bytes, path: str) -> AppFile | ConfigError:
    try:
        config = decoded(text, path)
    except ConfigError as error:
        # The traceback would keep the whole decoded tree alive.
        return ConfigError(error.what, remedy=error.remedy, place=error.place)
    spec = config.spec
    return AppFile(
        kind=config.kind,
        name=spec.name,
        description=spec.description,
        labels=dict(spec.labels),
        trigger=_USUAL if spec.trigger == _USUAL else spec.trigger,
        chain=spec.post_sync.chain,
    )


def _gone(path: str) -> ConfigError:
    return ConfigError(
        f"{path}: there is no such file at the head of the branch",
        remedy="restore the file, or change the application's path or configuration file name",
    )
