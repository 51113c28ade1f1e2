"""What a platform is told when it is asked what runs: Git's side, as it stands at the head of the branch.

Used by `live` and `drift`. What the files ask for is decoded once a commit and application; a checkout is
made only for a platform that wants one. Here it is also known when what runs was last seen to move.
"""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pipecd.errors import ConfigError
from pipecd.model.application import Application, GitPath
from pipecd.model.drift import Clean, Ignored
from pipecd.model.look import Look
from pipecd.model.stage import Source
from pipecd.piped.providers import Providers
from pipecd.piped.source.checkout import Sources, config_file
from pipecd.piped.source.heads import Head, Heads
from pipecd.piped.trigger.config_status import sound_file
from pipecd.platforms import platform


@dataclass(frozen=True, kw_only=True)
class _Known:
    commit: str
    git_path: GitPath
    desired: Any
    ignored: Ignored


class Looks:
    def __init__(self, heads: Heads, sources: Sources, providers: Providers, clean: Clean) -> None:
        self._heads, self._sources, self._providers, self._clean = heads, sources, providers, clean
        self._seen: dict[str, tuple[float, Head]] = {}
        self._known: dict[str, _Known] = {}
        self._moved: dict[str, float] = {}

    def moved(self, application: Application) -> None:
        """What runs of it is not what ran at the look before."""
        self._moved[application.id] = time.monotonic()

    def moved_since(self, application: Application, at: float) -> bool:
        """Whether somebody saw it move after `at`."""
        return self._moved.get(application.id, 0.0) >= at

    @asynccontextmanager
    async def at(self, application: Application, *, age: float) -> AsyncIterator[tuple[Look, str] | None]:
        """The look and its commit; the head may be `age` seconds old.

        None where the application's file cannot be used, which `trigger` tells.
        """
        head = await self._head(application, age)
        if head is None or isinstance(sound_file(application, head), ConfigError):
            yield None
            return
        async with AsyncExitStack() as held:
            made: list[Source] = []

            async def checkout() -> Source:
                if not made:
                    copy = self._sources.checkout(application.git_path, head.commit.hash)
                    made.append(await held.enter_async_context(copy))
                return made[0]

            known = self._known.get(application.id)
            if known is None or (known.commit, known.git_path) != (head.commit.hash, application.git_path):
                source = await checkout()
                known = _Known(
                    commit=head.commit.hash,
                    git_path=application.git_path,
                    desired=await platform(application.kind.name).desired(source),
                    ignored=Ignored(source.config.spec.drift_detection.ignore_fields),
                )
                self._known[application.id] = known
            look = Look(
                application=application,
                provider=self._providers.config(application.platform_provider),
                desired=known.desired,
                ignored=known.ignored,
                clean=self._clean,
                head=checkout,
            )
            yield look, head.commit.hash

    def forget(self, but: Mapping[str, Application]) -> None:
        """Applications that are gone take no memory."""
        self._known = {key: one for key, one in self._known.items() if key in but}
        self._moved = {key: at for key, at in self._moved.items() if key in but}

    async def _head(self, application: Application, age: float) -> Head | None:
        """None where the agent does not have the repository."""
        repo_id, file = application.git_path.repo_id, config_file(application.git_path)
        if repo_id not in self._heads.repositories:
            return None
        at, head = self._seen.get(repo_id, (0.0, None))
        if head is None or time.monotonic() - at > age or file not in head.files:
            head = await self._heads.look(repo_id, also=[file])
            self._seen[repo_id] = (time.monotonic(), head)
        return head
