"""A commit, a command or drift → deployments. One loop a repository: a slow remote delays no other.

Facts are gathered here; whether they ask for a deployment is decided in `model.trigger`. What is made is
made idempotently: a kill between making and hearing so leads to the same deployment again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from pipecd.errors import ConfigError, NotFound, PipecdError, UserError
from pipecd.model.application import Application
from pipecd.model.command import ChainSyncApplication, SyncApplication
from pipecd.model.deployment import Deployment, SyncStrategy, TriggerKind
from pipecd.model.status import SyncStatus
from pipecd.model.trigger import Decision, on_chain, on_command, on_commit, on_out_of_sync
from pipecd.piped.loop import Wake, keep
from pipecd.piped.metrics import FAULTS
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.report import Reports
from pipecd.piped.session.view import View
from pipecd.piped.source.heads import AppFile, Head, Heads
from pipecd.piped.trigger.config_status import Soundness, sound_file
from pipecd.piped.trigger.create import Cause, Creator
from pipecd.piped.trigger.discovery import file_of
from pipecd.remotes import same_repository

log = structlog.get_logger()

Sync = SyncApplication | ChainSyncApplication
#: Metadata of a handled command: what `pipectl application sync` waits for.
TRIGGERED = "TriggeredDeploymentID"


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
        self._route_wake = Wake()
        #: Application → the head it was last decided at, and the deployment last made, by this process.
        self._decided: dict[str, str] = {}
        self._latest: dict[str, str] = {}
        self._soundness = Soundness(reports, view)
        self._places: frozenset[tuple[str, str, str]] = frozenset()
        self._acting = False

    def hint(self, remote: str) -> None:
        """Somebody says that `remote` has changed; empty means: who knows which."""
        for repo_id, repository in self._heads.repositories.items():
            if not remote or same_repository(remote, repository.remote):
                self._wakes[repo_id]()

    async def follow(self) -> None:
        """A loop for each repository, and one that brings commands and new applications to it, for ever."""
        view, wake = self._view, self._route_wake
        await view.loaded()
        with (
            view.applications_feed.heard_by(wake),
            view.commands_feed.heard_by(wake),
            self._leadership.feed.heard_by(wake),
        ):
            async with asyncio.TaskGroup() as tasks:
                for repo_id, own in self._wakes.items():
                    name = f"trigger {repo_id}"
                    loop = keep(name, self._round_of(repo_id), interval=self._interval, wake=own)
                    tasks.create_task(loop, name=name)
                routing = keep("trigger commands", self._route, interval=self._interval, wake=wake)
                tasks.create_task(routing, name="trigger commands")

    async def _route(self) -> None:
        """Wake the repositories that have something to do, and answer who asks for the impossible."""
        may = self._leadership.lease.may_begin
        begins, self._acting = may and not self._acting, may
        if not may:
            # Another process may decide meanwhile: what we remember is worth nothing afterwards.
            self._decided.clear()
            self._latest.clear()
            return
        if begins:
            await self._view.refresh_applications()
        places = frozenset((one.id, one.git_path.repo_id, file_of(one)) for one in self._applications())
        new = {repo_id for _, repo_id, _ in (places if begins else places - self._places)}
        self._places = places
        for command in self._commands():
            application = await self._application(command.application_id)
            if application is None:
                await self._refuse(command, "this agent has no such application, or it is disabled")
            else:
                new.add(application.git_path.repo_id)
        # A deployment that ends tells how the application stands, and nothing of its file.
        new |= {one.git_path.repo_id for one in self._applications() if self._soundness.unsaid(one)}
        for repo_id in new & self._wakes.keys():
            self._wakes[repo_id]()
        for application in self._applications():
            if application.git_path.repo_id not in self._wakes:
                await self._broken(application, _not_ours(application.git_path.repo_id))

    def _round_of(self, repo_id: str) -> Callable[[], Awaitable[None]]:
        async def tick() -> None:
            if self._leadership.lease.may_begin:
                await self._round(repo_id)

        return tick

    async def _round(self, repo_id: str) -> None:
        """One look at a repository, and at each of its applications."""
        mine = [one for one in self._applications() if one.git_path.repo_id == repo_id]
        if not mine:
            return
        try:
            head = await self._heads.look(repo_id, also=filter(None, map(file_of, mine)))
        except ConfigError as error:
            for application in mine:
                await self._broken(application, error)
            return
        changes = _Changes(self._heads, head)
        for application in mine:
            try:
                await self._consider(application, head, changes)
            except PipecdError as error:
                log.error("application not triggered", application=application.id, why=str(error))
            except Exception:
                FAULTS.labels(loop="trigger").inc()
                log.exception("fault while deciding on a trigger", application=application.id)

    async def _consider(self, application: Application, head: Head, changes: "_Changes") -> None:
        file = sound_file(application, head)
        if isinstance(file, ConfigError):
            await self._broken(application, file)
            return
        await self._soundness.healed(application)
        made = [await self._obey(command, application, head, file) for command in self._of(application)]
        if any(made):
            return
        if not await self._on_commit(application, head, file, changes):
            await self._on_out_of_sync(application, head, file)

    async def _obey(
        self, command: Sync, application: Application, head: Head, file: AppFile
    ) -> Deployment | None:
        decision, cause = _asked(command, file)
        if not decision.triggered:
            await self._refuse(command, decision.why)
            return None
        try:
            made = await self._create(application, head, file, cause)
        except UserError as error:
            await self._refuse(command, str(error))
            return None
        await self._reports.handled(command.id, metadata={TRIGGERED: made.id})
        self._view.finished(command.id)
        return made

    async def _on_commit(
        self, application: Application, head: Head, file: AppFile, changes: "_Changes"
    ) -> bool:
        rule = file.trigger.on_commit
        last = self._last_commit(application)
        unchanged = rule.disabled or not last or last == head.commit.hash
        decision = on_commit(
            rule,
            directory=application.git_path.path,
            last=last,
            head=head.commit.hash,
            changed=() if unchanged else await changes.since(last),
        )
        if decision.triggered:
            cause = self._cause(TriggerKind.ON_COMMIT, decision, application)
            await self._create(application, head, file, cause)
        self._decided[application.id] = head.commit.hash
        return decision.triggered

    async def _on_out_of_sync(self, application: Application, head: Head, file: AppFile) -> None:
        rule = file.trigger.on_out_of_sync
        if rule.disabled or not self._out_of_sync(application):
            return
        last = await self._last_deployment(application)
        decision = on_out_of_sync(rule, last=last, now=time.time())
        if decision.triggered:
            # What is known may be older than the end of the last deployment, which has put things right.
            await self._view.refresh_applications()
            if not self._out_of_sync(self._view.applications.get(application.id, application)):
                return
            cause = self._cause(TriggerKind.ON_OUT_OF_SYNC, decision, application)
            await self._create(application, head, file, cause)

    async def _create(self, application: Application, head: Head, file: AppFile, cause: Cause) -> Deployment:
        made = await self._creator.create(application, head, file, cause)
        log.info("triggered", application=application.name, deployment=made.id, why=cause.why)
        self._decided[application.id] = made.trigger.commit.hash
        self._latest[application.id] = made.id
        return made

    def _out_of_sync(self, application: Application) -> bool:
        at_rest = application.id not in self._view.at_work
        return at_rest and application.sync_status is SyncStatus.OUT_OF_SYNC

    def _cause(self, kind: TriggerKind, decision: Decision, application: Application) -> Cause:
        return Cause(kind=kind, why=decision.why, previous_id=self._previous_id(application))

    def _previous_id(self, application: Application) -> str:
        last = application.last_triggered
        return self._latest.get(application.id) or (last.deployment_id if last else "")

    def _last_commit(self, application: Application) -> str:
        last = application.last_triggered
        return self._decided.get(application.id) or (last.commit if last else "")

    async def _last_deployment(self, application: Application) -> Deployment | None:
        previous = self._previous_id(application)
        try:
            return await self._reports.deployment(previous) if previous else None
        except NotFound:
            return None

    async def _broken(self, application: Application, error: ConfigError) -> None:
        """Show what is wrong with the application's file, and tell it to who waits for a sync."""
        await self._soundness.broken(application, error)
        for command in self._of(application):
            await self._refuse(command, str(error))

    async def _refuse(self, command: Sync, why: str) -> None:
        log.info("command refused", command=command.id, why=why)
        await self._reports.refused(command.id, why)
        self._view.finished(command.id)

    def _applications(self) -> list[Application]:
        return [one for one in self._view.applications.values() if not one.disabled]

    async def _application(self, application_id: str) -> Application | None:
        """Looks again before it says that there is none: it may have been added a moment ago."""
        if application_id not in self._view.applications:
            await self._view.refresh_applications()
        found = self._view.applications.get(application_id)
        return None if found is None or found.disabled else found

    def _commands(self) -> list[Sync]:
        waiting = self._view.commands.values()
        return [one for one in waiting if isinstance(one, SyncApplication | ChainSyncApplication)]

    def _of(self, application: Application) -> list[Sync]:
        return [one for one in self._commands() if one.application_id == application.id]


class _Changes:
    """The files that changed since a commit; many applications of a repository ask the same."""

    def __init__(self, heads: Heads, head: Head) -> None:
        self._heads, self._head = heads, head
        self._known: dict[str, Sequence[str] | None] = {}

    async def since(self, commit: str) -> Sequence[str] | None:
        """None when the repository does not have that commit any more."""
        if commit not in self._known:
            remote = self._head.repository.remote
            try:
                changed = await self._heads.mirrors.changed_files(remote, commit, self._head.commit.hash)
            except NotFound:
                self._known[commit] = None
            else:
                self._known[commit] = changed
        return self._known[commit]


def _asked(command: Sync, file: AppFile) -> tuple[Decision, Cause]:
    match command:
        case SyncApplication():
            cause = Cause(
                kind=TriggerKind.ON_COMMAND,
                why=_wish(command),
                command_id=command.id,
                commander=command.commander,
                strategy=command.strategy,
            )
            return on_command(file.trigger.on_command), cause
        case ChainSyncApplication():
            cause = Cause(
                kind=TriggerKind.ON_CHAIN,
                why="It is the application's turn in a deployment chain",
                command_id=command.id,
                commander=command.commander,
                strategy=command.strategy,
                chain_id=command.chain_id,
                chain_block=command.block,
            )
            return on_chain(file.trigger.on_chain), cause


_WISHES = {
    SyncStrategy.AUTO: "A sync",
    SyncStrategy.QUICK_SYNC: "A quick sync",
    SyncStrategy.PIPELINE: "A sync with the pipeline",
}


def _wish(command: SyncApplication) -> str:
    return f"{_WISHES[command.strategy]} was asked for by {command.commander or 'somebody'}"


def _not_ours(repo_id: str) -> ConfigError:
    return ConfigError(
        f"the repository {repo_id} is not in this agent's configuration",
        remedy="add it to spec.repositories of the agent, or move the application",
    )
