"""The checkouts of one stage. Opened by `perform`, and removed with the stage."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipecd.errors import Refused
from pipecd.git.other_repositories import OtherRepositories
from pipecd.model.application import GitPath
from pipecd.model.deployment import Deployment
from pipecd.model.stage import Source
from pipecd.piped.source.checkout import Sources
from pipecd.platforms import Platform


class StageCheckouts:
    """Implements `model.stage.Checkouts`. Closing `exit_stack` removes the checkouts."""

    def __init__(
        self,
        sources: Sources,
        other_repositories: OtherRepositories,
        deployment: Deployment,
        exit_stack: AsyncExitStack,
        provider: Callable[[], Any] = lambda: None,
        reader: Platform[Any] | None = None,
    ) -> None:
        """`provider` returns the decoded `config` of the deployment's platform provider.

        `reader` is the platform if the stage changes no files: its checkouts are shared with other readers.
        """
        self._sources, self._other_repositories, self._reader = sources, other_repositories, reader
        self._deployment, self._exit_stack, self._provider = deployment, exit_stack, provider
        #: By commit and name of the configuration file.
        self._checkouts: dict[tuple[str, str], Source] = {}

    async def target(self) -> Source:
        deployment = self._deployment
        filename = deployment.git_path.config_filename
        return await self._checkout(deployment.trigger.commit.hash, filename, deployed=False)

    async def running(self) -> Source:
        deployment = self._deployment
        if not deployment.running_commit:
            raise Refused(
                "there is no earlier successful deployment to roll back to",
                remedy="fix the application and deploy it again",
            )
        filename = deployment.running_config_filename or deployment.git_path.config_filename
        return await self._checkout(deployment.running_commit, filename, deployed=True)

    async def repository(self, remote: str, ref: str, path: str = "") -> Path:
        checkout = self._other_repositories.checkout(remote, ref, path)
        return await self._exit_stack.enter_async_context(checkout)

    async def _checkout(self, commit: str, filename: str, *, deployed: bool) -> Source:
        if (commit, filename) not in self._checkouts:
            path = replace(self._deployment.git_path, config_filename=filename)
            checkout = self._open(path, commit, deployed=deployed)
            self._checkouts[commit, filename] = await self._exit_stack.enter_async_context(checkout)
        return self._checkouts[commit, filename]

    def _open(self, path: GitPath, commit: str, *, deployed: bool) -> AbstractAsyncContextManager[Source]:
        provider = self._provider()
        if self._reader:
            return self._sources.read(path, commit, self._reader, deployed=deployed, provider=provider)
        return self._sources.checkout(path, commit, deployed=deployed, provider=provider)
