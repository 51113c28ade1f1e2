"""Builds the observation requests for platforms: the desired state at the head of the branch.

Used by `live_state` and `drift`. The application's files are decoded once per commit and application; a
checkout is made only if the platform needs one. Also records when the live state of an application was last
seen to change.
"""

import math
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pipecd.clock import Clock
from pipecd.errors import ConfigError
from pipecd.model.application import Application, GitPath
from pipecd.model.drift import IgnoredFields, Redact
from pipecd.model.observation import ObservationRequest
from pipecd.model.stage import Source
from pipecd.piped.providers import Providers
from pipecd.piped.source.checkout import Sources, config_file_path
from pipecd.piped.source.heads import Head, Heads
from pipecd.piped.trigger.config_status import find_application_file
from pipecd.platforms.registry import load_platform


@dataclass(frozen=True, kw_only=True)
class _DesiredState:
    commit: str
    git_path: GitPath
    desired: Any
    ignored: IgnoredFields


class ObservationRequests:
    def __init__(
        self, heads: Heads, sources: Sources, providers: Providers, redact: Redact, clock: Clock
    ) -> None:
        self._heads, self._sources, self._providers, self._redact = heads, sources, providers, redact
        self._clock = clock
        #: Repository id → the last loaded head and when it was loaded.
        self._cached_heads: dict[str, tuple[float, Head]] = {}
        self._desired_states: dict[str, _DesiredState] = {}
        self._changed_at: dict[str, float] = {}

    def mark_changed(self, application: Application) -> None:
        """Record that the application's live state differs from the previous check."""
        self._changed_at[application.id] = self._clock.monotonic()

    def changed_since(self, application: Application, at: float) -> bool:
        """Whether the live state was seen to change after `at` (monotonic seconds)."""
        return self._changed_at.get(application.id, -math.inf) >= at

    @asynccontextmanager
    async def build(
        self, application: Application, *, max_head_age: float
    ) -> AsyncIterator[tuple[ObservationRequest, str] | None]:
        """The request and its commit; the head of the branch may have been read `max_head_age` seconds ago.

        None if the application's file is missing or invalid, which `trigger` reports.
        """
        head = await self._load_head(application, max_head_age)
        if head is None or isinstance(find_application_file(application, head), ConfigError):
            yield None
            return
        async with AsyncExitStack() as stack:
            sources: list[Source] = []

            async def checkout() -> Source:
                if not sources:
                    context = self._sources.checkout(application.git_path, head.commit.hash)
                    sources.append(await stack.enter_async_context(context))
                return sources[0]

            state = self._desired_states.get(application.id)
            if state is None or (state.commit, state.git_path) != (head.commit.hash, application.git_path):
                source = await checkout()
                state = _DesiredState(
                    commit=head.commit.hash,
                    git_path=application.git_path,
                    desired=await load_platform(application.kind).load_desired_state(source),
                    ignored=IgnoredFields(source.config.spec.drift_detection.ignore_fields),
                )
                self._desired_states[application.id] = state
            request = ObservationRequest(
                application=application,
                provider=self._providers.config(application.kind, application.platform_provider),
                providers=self._providers.of_kind(application.kind),
                desired=state.desired,
                ignored=state.ignored,
                redact=self._redact,
                checkout_head=checkout,
            )
            yield request, head.commit.hash

    def prune(self, applications: Collection[str]) -> None:
        """Drop cached values of applications whose id is not in `applications`."""
        self._desired_states = {
            key: state for key, state in self._desired_states.items() if key in applications
        }
        self._changed_at = {key: at for key, at in self._changed_at.items() if key in applications}

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
