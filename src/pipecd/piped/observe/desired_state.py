"""Builds the observation requests for platforms: the desired state at the head of the branch.

Used by `live_state` and `drift`. An application's files are read again only if a commit changed something
that they are made of; a checkout is made only then, or if the platform needs one. Also records when the live
state of an application was last seen to change.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pipecd.clock import Clock
from pipecd.errors import UserError
from pipecd.model.application import Application, GitPath
from pipecd.model.drift import IgnoredFields, Redact
from pipecd.model.observation import ObservationRequest
from pipecd.model.stage import Source
from pipecd.piped.observe.content_digest import content_digest
from pipecd.piped.observe.desired_cache import DesiredStateCache
from pipecd.piped.providers import Providers
from pipecd.piped.settings import DesiredStateSettings
from pipecd.piped.source.checkout import Sources, config_file_path
from pipecd.piped.source.desired import load_desired_state
from pipecd.piped.source.heads import AppFile, Head, Heads
from pipecd.piped.source.read_paths import find_read_paths
from pipecd.piped.trigger.config_status import find_application_file
from pipecd.platforms.registry import load_platform


@dataclass(frozen=True, kw_only=True)
class _Read:
    """When an application's files were last read: the directories they are made of, and their digest."""

    paths: Sequence[str] | None
    digest: bytes


class NothingDeclared(UserError):
    """The application has no state that could be observed."""


class Observation:
    """One check of an application at the head of its branch."""

    def __init__(
        self,
        requests: "ObservationRequests",
        application: Application,
        head: Head,
        file: AppFile,
        stack: AsyncExitStack,
    ) -> None:
        self._requests, self._application, self._head = requests, application, head
        self._stack = stack
        #: Whether the application is deployed again when its live state differs from Git.
        self.corrects_drift = not file.trigger.on_out_of_sync.disabled
        self._source: Source | None = None
        #: Identifies the content of the application's files; None until `request` has read new ones.
        self.digest = requests.known_digest(application, head)

    @property
    def commit(self) -> str:
        return self._head.commit.hash

    async def request(self) -> ObservationRequest:
        """The request for the platform. Raises ConfigError if the files are invalid, or NothingDeclared."""
        desired, ignored = await self._load()
        providers, application = self._requests.providers, self._application
        return ObservationRequest(
            application=application,
            provider=self._provider(),
            providers=providers.of_kind(application.kind),
            desired=desired,
            ignored=ignored,
            redact=self._requests.redact,
            checkout_head=self._checkout,
        )

    async def _load(self) -> tuple[Any, IgnoredFields]:
        cache, key = self._requests.cache, self._application.id
        stored = await cache.load(key, self.digest) if self.digest else None
        if stored is None:
            platform, git_path = load_platform(self._application.kind), self._application.git_path
            provider = self._provider()
            async with self._requests.sources.read(
                git_path, self.commit, platform, provider=provider
            ) as source:
                desired = await load_desired_state(platform, source)
                if desired is None:
                    self._requests.mark_undeclared(self._application, self._head)
                    raise NothingDeclared(
                        "scripts deploy the application, which has no files of its platform"
                    )
                stored = (desired, IgnoredFields(source.config.spec.drift_detection.ignore_fields))
                paths = await asyncio.to_thread(
                    lambda: find_read_paths(git_path.path, source, platform.reads(source))
                )
            self.digest = self._requests.record(self._application, self._head, paths)
            await cache.store(key, self.digest, stored)
        desired, ignored = stored
        return desired, ignored

    def _provider(self) -> Any:
        application = self._application
        return self._requests.providers.config(application.kind, application.platform_provider)

    async def _checkout(self) -> Source:
        if self._source is None:
            context = self._requests.sources.checkout(
                self._application.git_path, self.commit, provider=self._provider()
            )
            self._source = await self._stack.enter_async_context(context)
        return self._source


class ObservationRequests:
    def __init__(
        self,
        heads: Heads,
        sources: Sources,
        providers: Providers,
        redact: Redact,
        clock: Clock,
        settings: DesiredStateSettings,
    ) -> None:
        self._heads, self._clock = heads, clock
        self.sources, self.providers, self.redact = sources, providers, redact
        self.cache = DesiredStateCache(settings.max_cache_bytes)
        #: Repository id → the last loaded head and when it was loaded.
        self._cached_heads: dict[str, tuple[float, Head]] = {}
        self._reads: dict[str, _Read] = {}
        self._changed_at: dict[str, float] = {}
        #: By application: where nothing is declared that could be observed.
        self._undeclared: dict[str, tuple[str, GitPath]] = {}

    def mark_undeclared(self, application: Application, head: Head) -> None:
        """Record that the application has no state that could be observed at `head`."""
        self._undeclared[application.id] = (head.commit.hash, application.git_path)

    def mark_changed(self, application: Application) -> None:
        """Record that the application's live state differs from the previous check."""
        self._changed_at[application.id] = self._clock.monotonic()

    def changed_since(self, application: Application, at: float) -> bool:
        """Whether the live state was seen to change after `at` (monotonic seconds)."""
        return self._changed_at.get(application.id, -math.inf) >= at

    @asynccontextmanager
    async def build(
        self, application: Application, *, max_head_age: float
    ) -> AsyncIterator[Observation | None]:
        """The observation; the head of the branch may have been read `max_head_age` seconds ago.

        None if the application's file is missing or invalid, which `trigger` reports, or if nothing is
        declared.
        """
        head = await self._load_head(application, max_head_age)
        file = find_application_file(application, head) if head else None
        if (
            head is None
            or not isinstance(file, AppFile)
            or self._undeclared.get(application.id) == (head.commit.hash, application.git_path)
        ):
            yield None
            return
        async with AsyncExitStack() as stack:
            yield Observation(self, application, head, file, stack)

    def known_digest(self, application: Application, head: Head) -> bytes | None:
        """The digest of the application's files at `head`; None unless they are as they were last read."""
        read = self._reads.get(application.id)
        if read is None or content_digest(application, head, read.paths) != read.digest:
            return None
        return read.digest

    def record(self, application: Application, head: Head, paths: Sequence[str] | None) -> bytes:
        """Record what the application's files at `head` are made of. Returns their digest."""
        read = _Read(paths=paths, digest=content_digest(application, head, paths))
        self._reads[application.id] = read
        return read.digest

    def prune(self, applications: Collection[str]) -> None:
        """Drop cached values of applications whose id is not in `applications`."""
        self.cache.prune(applications)
        self._reads = {key: read for key, read in self._reads.items() if key in applications}
        self._changed_at = {key: at for key, at in self._changed_at.items() if key in applications}
        self._undeclared = {key: where for key, where in self._undeclared.items() if key in applications}

    async def _load_head(self, application: Application, max_age: float) -> Head | None:
        """None if the agent does not have the repository."""
        repo_id, file = application.git_path.repo_id, config_file_path(application.git_path)
        if repo_id not in self._heads.repositories:
            return None
        at, head = self._cached_heads.get(repo_id, (0.0, None))
        if head is None or self._clock.monotonic() - at > max_age or file not in head.files:
            head = await self._heads.load_head(repo_id, also=[file])
            self._cached_heads[repo_id] = (self._clock.monotonic(), head)
        return head
