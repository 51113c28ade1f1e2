"""A commit, a command or drift → deployments. One loop a repository: a slow remote delays no other.

Facts are gathered here; whether they ask for a deployment is decided in `model.trigger`. What is made is
made idempotently: a kill between making and hearing so leads to the same deployment again.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence

import structlog

from pipecd.errors import ConfigError, PipecdError, Temporary
from pipecd.model.application import Application, DeploymentReference
from pipecd.model.command import ChainSyncApplication, SyncApplication
from pipecd.model.status import SyncStatus
from pipecd.piped.create import Cause, Creator
from pipecd.piped.heads import AppFile, Head, Heads
from pipecd.piped.lease import Leadership
from pipecd.piped.loop import Wake, keep
from pipecd.piped.report import Reports
from pipecd.piped.source import config_file
from pipecd.piped.view import View
from pipecd.remotes import same_repository

log = structlog.get_logger()

Sync = SyncApplication | ChainSyncApplication


class Triggering:
    def __init__(
        self,
        view: View,
        leadership: Leadership,
        reports: Reports,
        heads: Heads,
        creator: Creator,
        sync_interval: float,
    ) -> None:
        self._view, self._leadership, self._reports = view, leadership, reports
        self._heads, self._creator, self._interval = heads, creator, sync_interval
        self._wakes = {repo_id: Wake() for repo_id in heads.repositories}
        #: Application → the head it was last decided at, in this process.
        self._decided: dict[str, str] = {}
        #: Application → what was last reported of its file, in this process.
        self._told: dict[str, str] = {}

    def hint(self, remote: str) -> None:
        """Somebody says that `remote` has changed; empty means: who knows which."""
        for repo_id, repository in self._heads.repositories.items():
            if not remote or same_repository(remote, repository.remote):
                self._wakes[repo_id]()

    async def follow(self) -> None:
        """A loop for each repository, and one that brings commands and new applications to it, for ever."""
        await self._view.loaded()
        async with asyncio.TaskGroup() as tasks:
            for repo_id, wake in self._wakes.items():
                loop = keep(f"trigger {repo_id}", self._round_of(repo_id), interval=self._interval, wake=wake)
                tasks.create_task(loop, name=f"trigger {repo_id}")
            tasks.create_task(self._route(), name="trigger commands")
