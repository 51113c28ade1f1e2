"""Triggers deployments on commits, commands and drift. Runs one loop per repository, so remotes do not block
each other.

Collects the input of `model.trigger`, which decides whether to deploy. Creating a deployment is idempotent:
if a process is killed before the response arrives, the next one creates the same deployment.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import structlog

from pipecd.bounded_dict import BoundedDict
from pipecd.clock import Clock
from pipecd.config.application import Triggers
from pipecd.errors import ConfigError, NotFound, PipecdError, Place, Temporary, UserError
from pipecd.model.application import Application
from pipecd.model.approval import one_line
from pipecd.model.command import ChainSyncApplication, RollBackApplication, SyncApplication
from pipecd.model.deployment import (
    MAX_TRACE_COMMITS,
    Commit,
    Deployment,
    SyncStrategy,
    TriggerKind,
    find_trace_commits,
)
from pipecd.model.notification import DeploymentTriggerFailed, NotificationEvent
from pipecd.model.status import SyncStatus
from pipecd.model.trigger import Decision, hold, on_chain, on_command, on_commit, on_out_of_sync
from pipecd.piped.loop import Wake, repeat
from pipecd.piped.metrics import INTERNAL_ERRORS
from pipecd.piped.self_healing import SelfHealing
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.report import Reporter
from pipecd.piped.session.view import View
from pipecd.piped.settings import TriggerSettings
from pipecd.piped.source.heads import AppFile, Head, Heads
from pipecd.piped.source.weblinks import commit_url
from pipecd.piped.trigger.config_status import UNREADABLE, ConfigStatus, find_application_file
from pipecd.piped.trigger.create import Cause, DeploymentCreator
from pipecd.piped.trigger.discovery import config_path
from pipecd.remotes import same_repository

log = structlog.get_logger()

DEFAULT_SETTINGS = TriggerSettings()
SyncCommand = SyncApplication | ChainSyncApplication
TriggerCommand = SyncCommand | RollBackApplication
#: Commits that a pin keeps from being deployed, of which the newest are reported.
MAX_HELD_COMMITS = 20
#: Commits of a push that are searched for source commits.
MAX_TRACED_COMMITS = 200
#: Pushes whose source commits are cached: many applications of a repository need the same.
MAX_PUSHES = 20
#: Changed files that are compared with an application's directory without a thread.
MAX_FILES_AT_ONCE = 200
#: Metadata of a handled sync command; `pipectl application sync` waits for it.
TRIGGERED_DEPLOYMENT_ID = "TriggeredDeploymentID"


class TriggerLoop:
    def __init__(
        self,
        view: View,
        leadership: Leadership,
        reporter: Reporter,
        heads: Heads,
        creator: DeploymentCreator,
        config_status: ConfigStatus,
        self_healing: SelfHealing,
        clock: Clock,
        notify: Callable[[NotificationEvent], None],
        sync_interval: float,
        settings: TriggerSettings = DEFAULT_SETTINGS,
    ) -> None:
        """`sync_interval` is in seconds."""
        self._view, self._leadership, self._reporter = view, leadership, reporter
        self._heads, self._creator, self._config_status = heads, creator, config_status
        self._clock, self._notify, self._interval = clock, notify, sync_interval
        self._settings, self._self_healing = settings, self_healing
        #: By repository that cannot be read: since when (monotonic seconds).
        self._unreadable_since: dict[str, float] = {}
        self._wakes = {repo_id: Wake() for repo_id in heads.repositories}
        self._route_wake = Wake()
        #: By application: the last commit evaluated and the last deployment created by this process.
        self._decided_commits: dict[str, str] = {}
        self._latest_deployments: dict[str, str] = {}
        #: By application: the commit whose deployment the control plane refused.
        self._refused: dict[str, str] = {}
        #: Applications that this process rolled back: their cached record may still lack the pin.
        self._rolled_back: set[str] = set()
        #: Source commits of recent pushes, by repository, former and new head.
        self._traces = BoundedDict[tuple[str, str, str], Sequence[str]](MAX_PUSHES)
        #: By application: the pin's deployment and the head whose held commits were reported.
        self._reported_held: dict[str, tuple[str, str]] = {}
        self._locations: frozenset[tuple[str, str, str]] = frozenset()
        self._active = False

    def schedule_check(self, remote: str) -> None:
        """Schedule a check of `remote`, or of every repository if empty."""
        for repo_id, repository in self._heads.repositories.items():
            if not remote or same_repository(remote, repository.remote):
                self._wakes[repo_id]()

    async def run(self) -> None:
        """Runs one loop per repository, and one that routes commands and new applications to them."""
        view, wake = self._view, self._route_wake
        await view.wait_until_loaded()
        with (
            view.applications_feed.subscribe(wake),
            view.commands_feed.subscribe(wake),
            self._leadership.feed.subscribe(wake),
        ):
            async with asyncio.TaskGroup() as tasks:
                for repo_id, repository_wake in self._wakes.items():
                    name = f"trigger {repo_id}"
                    loop = repeat(
                        name,
                        self._tick_for(repo_id),
                        clock=self._clock,
                        interval=self._interval,
                        wake=repository_wake,
                    )
                    tasks.create_task(loop, name=name)
                routing = repeat(
                    "trigger commands", self._route, clock=self._clock, interval=self._interval, wake=wake
                )
                tasks.create_task(routing, name="trigger commands")

    async def _route(self) -> None:
        """Wakes the loops of repositories with new work, and rejects commands that cannot be handled."""
        may_begin = self._leadership.lease.may_begin
        activated, self._active = may_begin and not self._active, may_begin
        if not may_begin:
            # Another process may trigger deployments meanwhile, which makes these caches stale.
            self._decided_commits.clear()
            self._latest_deployments.clear()
            return
        if activated:
            await self._view.refresh_applications()
        self._prune()
        locations = frozenset(
            (application.id, application.git_path.repo_id, config_path(application))
            for application in self._applications()
        )
        to_check = {repo_id for _, repo_id, _ in (locations if activated else locations - self._locations)}
        self._locations = locations
        for command in self._commands():
            application = await self._application(command.application_id)
            if application is None:
                await self._reject(command, "the application is disabled, or not assigned to this agent")
            else:
                to_check.add(application.git_path.repo_id)
        # A completed deployment reports a sync state, which hides an invalid configuration file.
        to_check |= {
            application.git_path.repo_id
            for application in self._applications()
            if self._config_status.needs_report(application)
        }
        for repo_id in to_check & self._wakes.keys():
            self._wakes[repo_id]()
        for application in self._applications():
            if application.git_path.repo_id not in self._wakes:
                await self._report_invalid_config(
                    application, _unknown_repository(application.git_path.repo_id), None
                )

    def _prune(self) -> None:
        """Drops what is cached for applications that no longer exist."""
        known = self._view.applications.keys()
        self._decided_commits = {key: at for key, at in self._decided_commits.items() if key in known}
        self._latest_deployments = {key: at for key, at in self._latest_deployments.items() if key in known}
        self._refused = {key: at for key, at in self._refused.items() if key in known}
        self._rolled_back &= known
        self._reported_held = {key: at for key, at in self._reported_held.items() if key in known}
        self._config_status.prune(known)

    def _tick_for(self, repo_id: str) -> Callable[[], Awaitable[None]]:
        async def tick() -> None:
            if self._leadership.lease.may_begin:
                await self._check_repository(repo_id)

        return tick

    async def _check_repository(self, repo_id: str) -> None:
        """Checks a repository and each of its applications."""
        applications = [
            application for application in self._applications() if application.git_path.repo_id == repo_id
        ]
        if not applications:
            return
        try:
            head = await self._heads.load_head(repo_id, also=filter(None, map(config_path, applications)))
        except ConfigError as error:
            for application in applications:
                await self._report_invalid_config(application, error, None)
            return
        except Temporary as error:
            await self._report_unreadable(repo_id, applications, error)
            raise
        self._unreadable_since.pop(repo_id, None)
        changes = _Changes(self._heads, head)
        for application in applications:
            # Other loops take their turn, however many applications there are.
            await self._clock.sleep(0)
            try:
                await self._check_application(application, head, changes)
            except Temporary as error:
                log.error("trigger_delayed", application=application.id, error=str(error))
            except PipecdError as error:
                log.error("trigger_failed", application=application.id, error=str(error))
                self._notify_failure(application, head, str(error))
            except Exception:
                INTERNAL_ERRORS.labels(loop="trigger").inc()
                log.exception("unhandled_error", application=application.id)
                self._notify_failure(application, head, "internal error; see the agent's log for details")

    async def _check_application(self, application: Application, head: Head, changes: "_Changes") -> None:
        rollbacks = [
            await self._roll_back(command, application, head)
            for command in self._commands_for(application)
            if isinstance(command, RollBackApplication)
        ]
        if any(rollbacks):
            return
        file = find_application_file(application, head)
        if isinstance(file, ConfigError):
            await self._report_invalid_config(application, file, head.commit)
            return
        if self._refused.get(application.id) != head.commit.hash:
            await self._config_status.report_valid(application)
        deployments = [
            await self._handle_command(command, application, head, file)
            for command in self._commands_for(application)
            if not isinstance(command, RollBackApplication)
        ]
        if any(deployments):
            return
        try:
            if not await self._on_commit(application, head, file, changes):
                await self._on_out_of_sync(application, head, file)
        except UserError as error:
            # For example, its deployment chain names an application that does not exist.
            self._refused[application.id] = head.commit.hash
            place = Place(file=config_path(application) or application.name)
            error = ConfigError(error.what, remedy=error.remedy, place=error.place or place)
            await self._report_invalid_config(application, error, head.commit)
            return
        if self._refused.pop(application.id, None):
            await self._config_status.report_valid(application)

    async def _handle_command(
        self, command: SyncCommand, application: Application, head: Head, file: AppFile
    ) -> Deployment | None:
        decision, cause = _decide_on_command(command, file)
        decision = hold(decision, application.pin, now=self._clock.now())
        if not decision.triggered:
            await self._reject(command, decision.reason)
            return None
        try:
            deployment = await self._create(application, head, file, cause)
        except (UserError, NotFound) as error:
            self._notify_failure(application, head, str(error))
            await self._reject(command, str(error))
            return None
        await self._report_triggered(command, deployment)
        return deployment

    async def _report_triggered(self, command: TriggerCommand, deployment: Deployment) -> None:
        await self._reporter.report_command_succeeded(
            command.id, metadata={TRIGGERED_DEPLOYMENT_ID: deployment.id}
        )
        self._view.mark_finished(command.id)

    async def _roll_back(
        self, command: RollBackApplication, application: Application, head: Head
    ) -> Deployment | None:
        """Deploys an earlier commit, also if the file at the head of the branch is invalid."""
        self._rolled_back.add(application.id)
        remote = head.repository.remote
        try:
            target = await self._reporter.get_deployment(command.target_id)
            commit = target.trigger.commit
            await self._heads.mirrors.ensure_commit(remote, commit.hash)
            await self._heads.mirrors.commit(remote, commit.hash, commit.branch)
        except NotFound as error:
            await self._reject(command, f"the commit is not in the repository any more: {error}")
            return None
        file = find_application_file(application, head)
        earlier = AppFile(
            kind=application.kind,
            name=application.name,
            description=application.description,
            labels=target.labels,
            trigger=Triggers(),
            chain=None,
            mentions=file.mentions if isinstance(file, AppFile) else (),
        )
        cause = _rollback_cause(command, commit)
        placed = replace(application, git_path=target.git_path)
        deployment = await self._create(placed, replace(head, commit=commit), earlier, cause)
        await self._report_triggered(command, deployment)
        return deployment

    async def _on_commit(
        self, application: Application, head: Head, file: AppFile, changes: "_Changes"
    ) -> bool:
        rule = file.trigger.on_commit
        last = self._last_commit(application)
        unchanged = rule.disabled or not last or last == head.commit.hash
        changed = () if unchanged else await changes.since(last)
        decide = partial(
            on_commit,
            rule,
            directory=application.git_path.path,
            last=last,
            head=head.commit.hash,
            changed=changed,
        )
        # In a thread: patterns of a repository's author are matched. For a thousand applications, that alone
        # would take a second, and most need no patterns.
        simple = not (rule.paths or rule.ignores) and len(changed or ()) <= MAX_FILES_AT_ONCE
        decision = decide() if simple or unchanged else await asyncio.to_thread(decide)
        if decision.triggered and application.id in self._rolled_back:
            await self._view.refresh_applications()
            application = self._view.applications.get(application.id, application)
        decision = hold(decision, application.pin, now=self._clock.now())
        if decision.held:
            await self._report_held(application, head)
            # Decided again when the pin has ended.
            return False
        if decision.triggered:
            cause = self._cause(TriggerKind.ON_COMMIT, decision, application)
            await self._create(application, head, file, cause)
        self._decided_commits[application.id] = head.commit.hash
        return decision.triggered

    async def _on_out_of_sync(self, application: Application, head: Head, file: AppFile) -> None:
        rule = file.trigger.on_out_of_sync
        if rule.disabled or not self._out_of_sync(application):
            return
        stop_reason = self._self_healing.stop_reason(application.id)
        last = None if stop_reason else await self._last_deployment(application)
        now = self._clock.now()
        decision = on_out_of_sync(rule, last=last, now=now, stop_reason=stop_reason)
        decision = hold(decision, application.pin, now=now)
        if decision.triggered:
            # The cached state may predate the end of the last deployment, which may have fixed the drift.
            await self._view.refresh_applications()
            if not self._out_of_sync(self._view.applications.get(application.id, application)):
                return
            cause = self._cause(TriggerKind.ON_OUT_OF_SYNC, decision, application)
            await self._create(application, head, file, cause)

    async def _report_held(self, application: Application, head: Head) -> None:
        """Reports which commits the pin keeps from being deployed, once for each head."""
        pin = application.pin
        assert pin
        state = (pin.deployment_id, head.commit.hash)
        if self._reported_held.get(application.id) == state:
            return
        repository = head.repository
        try:
            commits = await self._heads.mirrors.commits_between(
                *(repository.remote, pin.commit, head.commit.hash, repository.branch),
                directory=application.git_path.path,
                limit=MAX_HELD_COMMITS,
            )
        except NotFound:
            # The branch was rewritten.
            commits = []
        # Without any, a change of another directory that the application watches.
        commits = commits or [head.commit]
        if commits[0].hash != pin.newest_held:
            linked = [
                replace(
                    item,
                    message=item.message.partition("\n")[0],
                    url=commit_url(repository.remote, item.hash),
                )
                for item in commits
            ]
            await self._reporter.report_held_commits(application.id, pin.deployment_id, linked)
            log.info("commits_held", application=application.name, commit=head.commit.hash, by=pin.by)
        self._reported_held[application.id] = state

    async def _create(self, application: Application, head: Head, file: AppFile, cause: Cause) -> Deployment:
        trace_commits = await self._find_trace_commits(application, head, file)
        deployment = await self._creator.create(application, head, file, cause, trace_commits)
        log.info(
            "deployment_triggered",
            application=application.name,
            deployment=deployment.id,
            reason=cause.reason,
        )
        if cause.kind is not TriggerKind.ON_OUT_OF_SYNC:
            self._self_healing.reset(application.id)
        self._decided_commits[application.id] = deployment.trigger.commit.hash
        self._latest_deployments[application.id] = deployment.id
        return deployment

    async def _find_trace_commits(self, application: Application, head: Head, file: AppFile) -> Sequence[str]:
        """What the head names, and the commits of the application since its last deployment."""
        named = find_trace_commits([head.commit.message])
        last = application.last_triggered
        if last and last.commit != head.commit.hash:
            with suppress(NotFound):
                # Otherwise the branch was rewritten.
                later = await self._find_traces_since(last.commit, application, head, file)
                named = tuple(dict.fromkeys([*named, *later]))
        return named[:MAX_TRACE_COMMITS]

    async def _find_traces_since(
        self, last: str, application: Application, head: Head, file: AppFile
    ) -> Sequence[str]:
        """Most pushes name no source commit at all: this is found out once for all applications."""
        key = (head.repository.id, last, head.commit.hash)
        if key not in self._traces:
            self._traces[key] = await self._find_traces(head, last, "")
        all_traces = self._traces[key]
        # Other directories may be among the paths that the application watches.
        if not all_traces or file.trigger.on_commit.paths:
            return all_traces
        return await self._find_traces(head, last, application.git_path.path)

    async def _find_traces(self, head: Head, last: str, directory: str) -> Sequence[str]:
        repository = head.repository
        commits = await self._heads.mirrors.commits_between(
            *(repository.remote, last, head.commit.hash, repository.branch),
            directory=directory,
            limit=MAX_TRACED_COMMITS,
        )
        return find_trace_commits(commit.message for commit in commits)

    def _out_of_sync(self, application: Application) -> bool:
        idle = application.id not in self._view.deploying_applications
        return idle and application.sync_status is SyncStatus.OUT_OF_SYNC

    def _cause(self, kind: TriggerKind, decision: Decision, application: Application) -> Cause:
        return Cause(kind=kind, reason=decision.reason, previous_id=self._previous_id(application))

    def _previous_id(self, application: Application) -> str:
        last = application.last_triggered
        return self._latest_deployments.get(application.id) or (last.deployment_id if last else "")

    def _last_commit(self, application: Application) -> str:
        last = application.last_triggered
        return self._decided_commits.get(application.id) or (last.commit if last else "")

    async def _last_deployment(self, application: Application) -> Deployment | None:
        previous = self._previous_id(application)
        try:
            return await self._reporter.get_deployment(previous) if previous else None
        except NotFound:
            return None

    def _notify_failure(self, application: Application, head: Head, reason: str) -> None:
        self._notify(
            DeploymentTriggerFailed(
                at=int(self._clock.now()), application=application, commit=head.commit, reason=reason
            )
        )

    async def _report_invalid_config(
        self, application: Application, error: ConfigError, commit: Commit | None
    ) -> None:
        """Reports the error as the application's state, and rejects its pending sync commands."""
        await self._config_status.report_invalid(application, error, commit)
        for command in self._commands_for(application):
            await self._reject(command, str(error))

    async def _report_unreadable(
        self, repo_id: str, applications: Sequence[Application], error: Temporary
    ) -> None:
        """When the repository has been unreadable for a while, reports it, and rejects sync commands."""
        since = self._unreadable_since.setdefault(repo_id, self._clock.monotonic())
        if self._clock.monotonic() - since < self._settings.unreadable_timeout:
            return
        for application in applications:
            await self._config_status.report_unreadable(application, error)
            for command in self._commands_for(application):
                await self._reject(command, f"{UNREADABLE}: {error}")

    async def _reject(self, command: TriggerCommand, reason: str) -> None:
        log.info("command_rejected", command=command.id, reason=reason)
        await self._reporter.report_command_failed(command.id, reason)
        self._view.mark_finished(command.id)

    def _applications(self) -> list[Application]:
        return [application for application in self._view.applications.values() if not application.disabled]

    async def _application(self, application_id: str) -> Application | None:
        """None if it is unknown or disabled. Refreshes the view if needed, for an application just added."""
        if application_id not in self._view.applications:
            await self._view.refresh_applications()
        application = self._view.applications.get(application_id)
        return None if application is None or application.disabled else application

    def _commands(self) -> list[TriggerCommand]:
        commands = self._view.commands.values()
        return [command for command in commands if isinstance(command, TriggerCommand)]

    def _commands_for(self, application: Application) -> list[TriggerCommand]:
        return [command for command in self._commands() if command.application_id == application.id]


class _Changes:
    """The files changed since a commit, cached: many applications of a repository need the same."""

    def __init__(self, heads: Heads, head: Head) -> None:
        self._heads, self._head = heads, head
        self._changed_files: dict[str, Sequence[str] | None] = {}

    async def since(self, commit: str) -> Sequence[str] | None:
        """None if the repository no longer has that commit."""
        if commit not in self._changed_files:
            remote = self._head.repository.remote
            try:
                changed = await self._heads.mirrors.changed_files(remote, commit, self._head.commit.hash)
            except NotFound:
                self._changed_files[commit] = None
            else:
                self._changed_files[commit] = changed
        return self._changed_files[commit]


def _decide_on_command(command: SyncCommand, file: AppFile) -> tuple[Decision, Cause]:
    match command:
        case SyncApplication():
            cause = Cause(
                kind=TriggerKind.ON_COMMAND,
                reason=_sync_reason(command),
                command_id=command.id,
                trace_parent=command.trace_parent,
                requested_by=command.commander,
                strategy=command.strategy,
            )
            return on_command(file.trigger.on_command), cause
        case ChainSyncApplication():
            cause = Cause(
                kind=TriggerKind.ON_CHAIN,
                reason="It is the application's turn in a deployment chain",
                command_id=command.id,
                trace_parent=command.trace_parent,
                requested_by=command.commander,
                strategy=command.strategy,
                chain_id=command.chain_id,
                chain_block=command.block,
            )
            return on_chain(file.trigger.on_chain), cause


_SYNC_NAMES = {
    SyncStrategy.AUTO: "Sync",
    SyncStrategy.QUICK_SYNC: "Quick sync",
    SyncStrategy.PIPELINE: "Pipeline sync",
}


def _sync_reason(command: SyncApplication) -> str:
    return f"{_SYNC_NAMES[command.strategy]} requested by {command.commander or 'an unknown user'}"


def _rollback_cause(command: RollBackApplication, commit: Commit) -> Cause:
    text = f"Rollback to commit {commit.hash[:7]} requested by {command.commander or 'an unknown user'}"
    return Cause(
        kind=TriggerKind.ON_COMMAND,
        reason=f"{text}: {one_line(command.reason)}" if command.reason else text,
        command_id=command.id,
        trace_parent=command.trace_parent,
        requested_by=command.commander,
        strategy=command.strategy,
        rollback_target=command.target_id,
    )


def _unknown_repository(repo_id: str) -> ConfigError:
    return ConfigError(
        f"the repository {repo_id} is not in this agent's configuration",
        remedy="add it to spec.repositories of the agent, or move the application",
    )
