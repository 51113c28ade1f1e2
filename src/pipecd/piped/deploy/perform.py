"""Calls one stage and converts exceptions to outcomes; the only place that does.

`rollout` opens a `StageRun` for a running stage, calls it until the stage ends, and closes it. User errors
fail the stage with their remedy. Temporary errors are retried for a while (`StageSettings`). Any other
exception is an internal error: it fails the stage and is logged with its traceback.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import structlog

from pipecd import tracing
from pipecd.clock import Clock, Elapsed, timeout
from pipecd.config.application import ApplicationConfig, StageConfig
from pipecd.errors import ConfigError, PipecdError, Temporary, UserError
from pipecd.git.other_repositories import OtherRepositories
from pipecd.model.analysis import AnalysisProviders
from pipecd.model.application import Application
from pipecd.model.deployment import Deployment, Stage
from pipecd.model.notification import NotificationEvent
from pipecd.model.plan import ANALYSIS
from pipecd.model.progress import STAGE_STARTED_AT, STAGE_TIMEOUT
from pipecd.model.skip import skip_reason
from pipecd.model.stage import Again, Done, Failed, Outcome, StageAction, StopFunction, Work
from pipecd.model.status import StageStatus
from pipecd.piped.deploy.call_limit import CallLimit
from pipecd.piped.deploy.call_slots import CallSlots
from pipecd.piped.deploy.checkouts import StageCheckouts
from pipecd.piped.deploy.sealed_objects import EncryptedObjects
from pipecd.piped.deploy.stage_logs import StageLogs, StageLogWriter
from pipecd.piped.metrics import INTERNAL_ERRORS
from pipecd.piped.providers import Providers
from pipecd.piped.settings import StageSettings
from pipecd.piped.source.checkout import Sources
from pipecd.piped.traces import stage_span
from pipecd.platforms import Platform
from pipecd.platforms.registry import load_platform
from pipecd.platforms.stage_tables import stage_function
from pipecd.retry import Backoff

log = structlog.get_logger()

#: Timeout of a stage that configures none, in seconds.
DEFAULT_TIMEOUT = 6 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Postponed(Again):
    """The call did not complete, so the stage actions it was given are not handled yet."""


@dataclass(frozen=True, kw_only=True)
class StageServices:
    """The components that every stage of this agent uses."""

    sources: Sources
    other_repositories: OtherRepositories
    logs: StageLogs
    providers: Providers
    encrypted_objects: EncryptedObjects
    analysis: AnalysisProviders
    notify: Callable[[NotificationEvent], None]
    clock: Clock
    settings: StageSettings
    call_slots: CallSlots
    #: The platform of a kind.
    load_platform: Callable[[str], Platform[Any]] = load_platform

    @asynccontextmanager
    async def open_stage(
        self, application: Application, deployment: Deployment, stage: Stage, *, interrupted: bool
    ) -> AsyncIterator["StageRun"]:
        """The stage, ready to be called. Its checkouts are removed when the block ends.

        `interrupted`: the stage may have been called before, and its last outcome may not be stored.
        """
        async with AsyncExitStack() as exit_stack:
            checkouts = StageCheckouts(
                self.sources,
                self.other_repositories,
                deployment,
                exit_stack,
                lambda: self.providers.config(deployment.kind, deployment.platform_provider),
                self._reader(deployment.kind, stage.name),
            )
            yield StageRun(self, application, deployment, stage, checkouts, interrupted=interrupted)

    def _reader(self, kind: str, stage_name: str) -> Platform[Any] | None:
        """The platform, if the stage leaves the files of its checkouts as they are."""
        platform = self.load_platform(kind)
        return platform if stage_name == ANALYSIS or _runs_no_programs(platform, stage_name) else None


class StageRun:
    """The calls of one stage in this process."""

    def __init__(
        self,
        services: StageServices,
        application: Application,
        deployment: Deployment,
        stage: Stage,
        checkouts: StageCheckouts,
        *,
        interrupted: bool,
    ) -> None:
        self.log: StageLogWriter = services.logs.open(deployment.id, stage.id)
        self._services, self._application, self._checkouts = services, application, checkouts
        self._stage_id, self._deployment = stage.id, deployment
        self._interrupted = interrupted
        self._backoff = Backoff(services.settings.retry)
        self._call_limit = CallLimit(services.clock, services.settings)
        self._failing_since: float | None = None
        self._elapsed = Elapsed(services.clock)
        self._first_call = True
        self._settings: StageConfig | None = None

    async def __call__(self, deployment: Deployment, actions: Sequence[StageAction]) -> Outcome:
        """Calls the stage once. Returns an outcome even if the stage raises."""
        # What the call does belongs to the stage's span, which is recorded when the stage ends.
        with tracing.within(stage_span(deployment, deployment.stage(self._stage_id))):
            outcome = await self._outcome(deployment, actions)
        if isinstance(outcome, Again):
            # In this order, the limit also applies to a delay that is not a number.
            return replace(outcome, after=max(self._call_limit.delay(), outcome.after))
        return outcome

    async def _outcome(self, deployment: Deployment, actions: Sequence[StageAction]) -> Outcome:
        self._deployment = deployment
        stage = deployment.stage(self._stage_id)
        try:
            outcome = await self._call_within_timeout(stage, actions)
        except Temporary as error:
            return self._retry(error, self._remaining(stage))
        except UserError as error:
            return self._failed(error.what, error)
        except PipecdError as error:
            return self._failed(str(error), error)
        except Exception:
            INTERNAL_ERRORS.labels(loop="perform").inc()
            log.exception("unhandled_error", deployment=deployment.id, stage=stage.name)
            self.log.error("Internal error of the agent; see the agent's log for details")
            return Failed(
                reason="internal error", remedy="report it with the agent's log; sync again to retry"
            )
        self._failing_since = None
        self._backoff.reset()
        if isinstance(outcome, Failed):
            self.log.error(f"{outcome.reason}; {outcome.remedy}" if outcome.remedy else outcome.reason)
        return outcome

    async def _call_within_timeout(self, stage: Stage, actions: Sequence[StageAction]) -> Outcome:
        """Calls the stage, or skips it. Reading its configuration is part of the stage's timeout."""
        clock = self._services.clock
        try:
            async with timeout(clock, self._remaining(stage)) as deadline:
                settings = await self._load_settings(stage)
            remaining = self._remaining(stage)
            if not remaining:
                # `timeout` alone would not end a stage that returns without waiting.
                return await self._timed_out(stage)
            async with timeout(clock, remaining) as deadline:
                if self._first_call and settings and (reason := await self._skip_reason(settings)):
                    self.log.info(reason)
                    return Done(note=reason, status=StageStatus.SKIPPED)
                self._first_call = False
                outcome = await self._call(settings, stage, actions)
        except TimeoutError:
            if not deadline.expired():
                raise
            return await self._timed_out(stage)
        if isinstance(outcome, Again):
            return replace(outcome, after=min(outcome.after, self._remaining(stage)))
        return outcome

    async def _call(
        self, settings: StageConfig | None, stage: Stage, actions: Sequence[StageAction]
    ) -> Outcome:
        platform = self._services.load_platform(self._deployment.kind)
        if self._application.disabled and not stage.rollback:
            return Failed(
                reason="the application was disabled or deleted",
                remedy="enable the application, then sync it again",
            )
        work = self._work(platform, settings, stage, actions)
        function = stage_function(platform, stage.name)
        async with self._slot(platform, stage):
            self._interrupted = True
            outcome = await function(work)
        self._interrupted = False
        return outcome

    def _slot(self, platform: Platform[Any], stage: Stage) -> AbstractAsyncContextManager[None]:
        """Calls of platforms that only send requests are short; those that run programs take hours."""
        if not _runs_no_programs(platform, stage.name):
            return nullcontext()
        deployment = self._deployment
        return self._services.call_slots.slot(deployment.kind, deployment.platform_provider)

    async def stop(self, deployment: Deployment) -> None:
        """Ends what the stage has started outside of the agent. Errors are shown in the stage's log."""
        self._deployment = deployment
        stage = deployment.stage(self._stage_id)
        stop = self._services.load_platform(deployment.kind).stop.get(stage.name)
        if stop is None:
            return
        limit = self._services.settings.stop_timeout
        try:
            async with timeout(self._services.clock, limit) as deadline:
                await self._stop_until_done(stop, stage)
        except TimeoutError:
            if not deadline.expired():
                raise
            self.log.error(f"What the stage started was not stopped within {_format_duration(limit)}")
        except PipecdError as error:
            self.log.error(f"What the stage started was not stopped: {error}")
        except Exception:
            INTERNAL_ERRORS.labels(loop="perform").inc()
            log.exception("unhandled_error", deployment=deployment.id, stage=stage.name)
            self.log.error("Internal error of the agent; see the agent's log for details")

    async def _stop_until_done(self, stop: StopFunction, stage: Stage) -> None:
        platform = self._services.load_platform(self._deployment.kind)
        backoff = Backoff(self._services.settings.retry)
        while True:
            try:
                settings = await self._load_settings(stage)
                return await stop(self._work(platform, settings, stage, ()))
            except Temporary as error:
                delay = error.after if error.after is not None else backoff.next_delay()
                self.log.info(f"Stopping: {error}; retrying in {delay:.0f} s")
                await self._services.clock.sleep(delay)

    def _work(
        self,
        platform: Platform[Any],
        settings: StageConfig | None,
        stage: Stage,
        actions: Sequence[StageAction],
    ) -> Work[Any]:
        deployment, providers = self._deployment, self._services.providers
        kind = deployment.kind
        return Work[Any](
            application=self._application,
            deployment=deployment,
            stage=stage,
            options=_options(platform, settings, stage),
            provider=providers.config(kind, deployment.platform_provider),
            providers=providers.of_kind(kind),
            log=self.log,
            now=self._services.clock.now(),
            token=f"{deployment.id}/{stage.id}",
            actions=actions,
            interrupted=self._interrupted,
            checkouts=self._checkouts,
            storage=self._services.encrypted_objects.of_application(self._application.id),
            analysis=self._services.analysis,
            notify=self._services.notify,
        )

    async def _load_settings(self, stage: Stage) -> StageConfig | None:
        """The stage's configuration in the pipeline, read once.

        None for stages that the planner added: a rollback must not depend on a valid file.
        """
        if self._settings is None and not stage.predefined and not stage.rollback:
            deployment = self._deployment
            config = await self._services.sources.load_config(
                deployment.git_path, deployment.trigger.commit.hash
            )
            self._settings = _stage_config(config, stage)
            for place, reason in config.ignored_keys.get(stage.index, ()):
                self.log.info(f"{place} has no effect: {reason}")
        return self._settings

    def _timeout(self, stage: Stage) -> float:
        """The stage's timeout in seconds."""
        if STAGE_TIMEOUT in stage.metadata:
            return float(stage.metadata[STAGE_TIMEOUT])
        # None until the file is read, if another version of the agent planned the deployment.
        configured = self._settings.timeout if self._settings else None
        return DEFAULT_TIMEOUT if configured is None else configured.total_seconds()

    def _remaining(self, stage: Stage) -> float:
        """Seconds until the stage times out."""
        if STAGE_STARTED_AT not in stage.metadata:
            return self._timeout(stage)
        elapsed = self._elapsed.since(float(stage.metadata[STAGE_STARTED_AT]))
        return max(self._timeout(stage) - elapsed, 0.0)

    async def _timed_out(self, stage: Stage) -> Failed:
        await self.stop(self._deployment)
        return Failed(
            reason=f"the stage timed out after {_format_duration(self._timeout(stage))}",
            remedy="see its log for what it waited for, or increase the stage's timeout",
        )

    async def _skip_reason(self, settings: StageConfig) -> str:
        """Why the stage is skipped; empty if it is not skipped."""
        deployment = self._deployment
        changed = None
        if deployment.running_commit and settings.skip_on.paths:
            remote = self._services.sources.repository(deployment.git_path.repo_id).remote
            commit = deployment.trigger.commit.hash
            changed = await self._services.sources.mirrors.changed_files(
                remote, deployment.running_commit, commit
            )
        message = deployment.trigger.commit.message
        if not changed:
            return skip_reason(settings.skip_on, message, None)
        return await asyncio.to_thread(skip_reason, settings.skip_on, message, changed)

    def _retry(self, error: Temporary, remaining: float) -> Outcome:
        """Postpones the call by at most `remaining` seconds, after which the stage times out."""
        now, limit = self._services.clock.monotonic(), self._services.settings.retry_timeout
        self._failing_since = now if self._failing_since is None else self._failing_since
        if now - self._failing_since > limit:
            return self._failed(f"{error} (retried for {_format_duration(limit)})", error)
        delay = min(error.after if error.after is not None else self._backoff.next_delay(), remaining)
        self.log.error(f"{error}; retrying in {delay:.0f} s")
        return Postponed(after=delay)

    def _failed(self, reason: str, error: PipecdError) -> Failed:
        self.log.error(str(error))
        remedy = error.remedy if isinstance(error, UserError) else ""
        place = f"{error.place}: " if isinstance(error, UserError) and error.place else ""
        return Failed(reason=f"{place}{reason}", remedy=remedy)


def _runs_no_programs(platform: Platform[Any], stage_name: str) -> bool:
    """Whether it is a stage of the platform that only reads files and sends requests."""
    return stage_name in platform.stages and platform.stages_share_checkouts


def _stage_config(config: ApplicationConfig, stage: Stage) -> StageConfig:
    stages: Sequence[StageConfig] = config.spec.pipeline.stages if config.spec.pipeline else ()
    if stage.index >= len(stages) or stages[stage.index].name != stage.name:
        raise ConfigError(
            f"the pipeline in {config.file} has no stage {stage.name} at position {stage.index}",
            remedy="sync the application again",
        )
    return stages[stage.index]


def _options(platform: Platform[Any], settings: StageConfig | None, stage: Stage) -> Any:
    if settings is not None:
        return settings.options
    options_type = platform.options.get(stage.name)
    return options_type() if options_type else None


def _format_duration(seconds: float) -> str:
    for unit, name in ((3600, "h"), (60, "m")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:g}{name}"
    return f"{seconds:g}s"
