"""One call of one stage: the only place where exceptions become outcomes.

`rollout` opens a `Performance` for a running stage, calls it until it is done, and closes it. What a
person can mend becomes a failure with its remedy; what will pass is tried again, for a while; anything
else is a fault of ours, which fails the stage and is loud.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from pipecd.config.application import ApplicationConfig, StageConfig
from pipecd.errors import ConfigError, PipecdError, Refused, Temporary, UserError
from pipecd.git.foreign import Foreign
from pipecd.model.application import Application
from pipecd.model.deployment import Deployment, Stage
from pipecd.model.progress import STAGE_STARTED_AT
from pipecd.model.skip import skips
from pipecd.model.stage import Again, Done, Failed, Order, Outcome, Source, StageFunction, Work
from pipecd.model.status import StageStatus
from pipecd.piped.deploy.sealed_objects import Kept
from pipecd.piped.deploy.stage_logs import Logs, Writer
from pipecd.piped.metrics import FAULTS
from pipecd.piped.notify.log import log_notification
from pipecd.piped.providers import Providers
from pipecd.piped.source.checkout import Sources
from pipecd.platforms import Platform, platform
from pipecd.retry import Retry
from pipecd.stages import STAGES

log = structlog.get_logger()

DEFAULT_TIMEOUT = 6 * 3600.0
#: How a stage that says "it will pass" is called again, and for how long altogether (seconds).
BETWEEN = Retry(base=1.0, cap=60.0, tries=1_000_000)
PATIENCE = 30 * 60.0


@dataclass(frozen=True, kw_only=True)
class Postponed(Again):
    """The call came to no end, so the orders it was given are still to be heard."""


@dataclass(frozen=True, kw_only=True)
class Stageworks:
    """What every stage of this agent is given."""

    sources: Sources
    foreign: Foreign
    logs: Logs
    providers: Providers
    kept: Kept

    @asynccontextmanager
    async def opened(
        self, application: Application, deployment: Deployment, stage: Stage
    ) -> AsyncIterator["Performance"]:
        """The stage, ready to be called. Its checkouts are removed at the end."""
        async with AsyncExitStack() as held:
            yield Performance(self, application, deployment, stage, held)


class Performance:
    """The calls of one stage in this process."""

    def __init__(
        self,
        works: Stageworks,
        application: Application,
        deployment: Deployment,
        stage: Stage,
        held: AsyncExitStack,
    ) -> None:
        self.log: Writer = works.logs.open(deployment.id, stage.id)
        self._works, self._application, self._held = works, application, held
        self._stage_id, self._deployment = stage.id, deployment
        self._checkouts: dict[str, Source] = {}
        self._delays = BETWEEN.delays(random.Random())
        self._failing_since: float | None = None
        self._first = True

    async def __call__(self, deployment: Deployment, orders: Sequence[Order]) -> Outcome:
        """The outcome of one call, whatever happens in it."""
        self._deployment = deployment
        stage = deployment.stage(self._stage_id)
        try:
            outcome = await self._bounded(stage, orders)
        except Temporary as error:
            return self._once_more(error)
        except UserError as error:
            return self._failed(error.what, error)
        except PipecdError as error:
            return self._failed(str(error), error)
        except Exception:
            FAULTS.labels(loop="perform").inc()
            log.exception("fault in a stage", deployment=deployment.id, stage=stage.name)
            self.log.error("Internal error: this is a fault of the agent; its log has the details")
            return Failed(
                reason="internal error", remedy="report it with the agent's log, and sync again to retry"
            )
        self._failing_since = None
        if isinstance(outcome, Failed):
            self.log.error(f"{outcome.reason}; {outcome.remedy}" if outcome.remedy else outcome.reason)
        return outcome

    async def _bounded(self, stage: Stage, orders: Sequence[Order]) -> Outcome:
        config = await self._config(stage)
        settings = _settings(config, stage)
        limit = _limit(settings)
        left = limit - (time.time() - float(stage.metadata.get(STAGE_STARTED_AT, time.time())))
        try:
            async with asyncio.timeout(max(left, 0.0)) as bound:
                if self._first and settings and (why := await self._skipped(settings)):
                    self.log.info(why)
                    return Done(note=why, status=StageStatus.SKIPPED)
                self._first = False
                outcome = await self._call(config, settings, stage, orders)
        except TimeoutError:
            if not bound.expired():
                raise
            return Failed(
                reason=f"timed out: the stage did not end within {_words(limit)}",
                remedy="look at what it waited for in its log, or raise the stage's timeout",
            )
        if isinstance(outcome, Again):
            return replace(outcome, after=min(outcome.after, max(left, 0.0)))
        return outcome

    async def _call(
        self,
        config: ApplicationConfig | None,
        settings: StageConfig | None,
        stage: Stage,
        orders: Sequence[Order],
    ) -> Outcome:
        deployment = self._deployment
        chosen = platform(deployment.kind.name)
        if self._application.disabled and not stage.rollback:
            return Failed(
                reason="the application was disabled or deleted", remedy="enable it, then sync it again"
            )
        work = Work[Any](
            application=self._application,
            deployment=deployment,
            stage=stage,
            options=_options(chosen, settings, stage),
            provider=self._works.providers.config(deployment.platform_provider),
            log=self.log,
            now=time.time(),
            token=f"{deployment.id}/{stage.id}",
            orders=orders,
            target=self._target,
            running=self._running,
            elsewhere=self._elsewhere,
            notify=log_notification,
            keep=self._keep,
            kept=self._kept,
        )
        return await _function(chosen, stage)(work)

    async def _keep(self, name: str, data: bytes) -> None:
        await self._works.kept.keep(self._application.id, name, data)

    async def _kept(self, name: str) -> bytes:
        return await self._works.kept.kept(self._application.id, name)

    async def _target(self) -> Source:
        return await self._checkout(self._deployment.trigger.commit.hash)

    async def _running(self) -> Source:
        deployment = self._deployment
        if not deployment.running_commit:
            raise Refused(
                "nothing was deployed before, so there is nothing to go back to",
                remedy="mend the application and deploy again",
            )
        filename = deployment.running_config_filename or deployment.git_path.config_filename
        return await self._checkout(deployment.running_commit, filename)

    async def _elsewhere(self, remote: str, ref: str) -> Path:
        return await self._held.enter_async_context(self._works.foreign.checkout(remote, ref))

    async def _checkout(self, commit: str, filename: str = "") -> Source:
        if commit not in self._checkouts:
            path = self._deployment.git_path
            path = replace(path, config_filename=filename) if filename else path
            held = self._held.enter_async_context(self._works.sources.checkout(path, commit))
            self._checkouts[commit] = await held
        return self._checkouts[commit]

    async def _config(self, stage: Stage) -> ApplicationConfig | None:
        """The file that a forward stage was planned from. A rollback must not depend on its being good."""
        if stage.rollback:
            return None
        deployment = self._deployment
        return await self._works.sources.config(deployment.git_path, deployment.trigger.commit.hash)

    async def _skipped(self, settings: StageConfig) -> str:
        """Why the stage is skipped; empty when it is not."""
        deployment = self._deployment
        changed = None
        if deployment.running_commit and settings.skip_on.paths:
            remote = self._works.sources.repository(deployment.git_path.repo_id).remote
            commit = deployment.trigger.commit.hash
            changed = await self._works.sources.mirrors.changed_files(
                remote, deployment.running_commit, commit
            )
        return skips(settings.skip_on, deployment.trigger.commit.message, changed)

    def _once_more(self, error: Temporary) -> Outcome:
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        if now - self._failing_since > PATIENCE:
            return self._failed(f"{error} (for {_words(PATIENCE)})", error)
        delay = error.after if error.after is not None else next(self._delays)
        self.log.error(f"{error}; trying again in {delay:.0f} s")
        return Postponed(after=delay)

    def _failed(self, reason: str, error: PipecdError) -> Failed:
        self.log.error(str(error))
        remedy = error.remedy if isinstance(error, UserError) else ""
        place = f"{error.place}: " if isinstance(error, UserError) and error.place else ""
        return Failed(reason=f"{place}{reason}", remedy=remedy)


def _function(chosen: Platform, stage: Stage) -> StageFunction:
    found = chosen.stages.get(stage.name) or STAGES.get(stage.name)
    if found is None:
        raise ConfigError(
            f"this agent knows no stage {stage.name} for {chosen.config_kind}",
            remedy="upgrade the agent, or take the stage out of the pipeline",
        )
    return found


def _settings(config: ApplicationConfig | None, stage: Stage) -> StageConfig | None:
    """What the pipeline says about the stage; None for what the planner added."""
    if config is None or stage.predefined or stage.rollback:
        return None
    stages: Sequence[StageConfig] = config.spec.pipeline.stages if config.spec.pipeline else ()
    if stage.index >= len(stages) or stages[stage.index].name != stage.name:
        raise ConfigError(
            f"the pipeline in {config.file} has no stage {stage.name} at position {stage.index}",
            remedy="sync the application again",
        )
    return stages[stage.index]


def _options(chosen: Platform, settings: StageConfig | None, stage: Stage) -> Any:
    if settings is not None:
        return settings.options
    made = chosen.options.get(stage.name)
    return made() if made else None


def _limit(settings: StageConfig | None) -> float:
    if settings is None or settings.timeout is None:
        return DEFAULT_TIMEOUT
    return settings.timeout.total_seconds()


def _words(seconds: float) -> str:
    for unit, name in ((3600, "h"), (60, "m")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:g}{name}"
    return f"{seconds:g}s"
