"""A pending deployment → its plan: strategy, versions and stages. Called by `rollout`.

Gathers what `model.plan` decides on. What a person can mend ends the deployment with its sentence; what will
pass rises, and is tried again.
"""

import asyncio
from dataclasses import replace
from typing import Any

import structlog

from pipecd.config.application import ApplicationConfig, auto_rollback
from pipecd.errors import ConfigError, NotFound, PipecdError, Temporary, UserError
from pipecd.model.application import Application, DeploymentReference, GitPath
from pipecd.model.deployment import Deployment, Stage, SyncStrategy, Trigger
from pipecd.model.plan import (
    ROLLBACK,
    NoPipeline,
    Strategy,
    pipeline_stages,
    quick_sync_stages,
    strategy,
)
from pipecd.model.progress import TIMEOUT, Finish
from pipecd.model.status import DeploymentStatus
from pipecd.piped.metrics import FAULTS
from pipecd.piped.providers import Providers
from pipecd.piped.session.report import Reports
from pipecd.piped.source.checkout import Sources
from pipecd.platforms import Platform, platform

log = structlog.get_logger()

#: A plan holds a checkout; after a change to what a thousand applications share there are many to make.
AT_ONCE = 4
PLANNED_REASON = "The deployment was planned"


class Planner:
    def __init__(self, sources: Sources, reports: Reports, providers: Providers) -> None:
        self._sources, self._reports, self._providers = sources, reports, providers
        self._few = asyncio.Semaphore(AT_ONCE)

    async def plan(self, deployment: Deployment, application: Application) -> Deployment | Finish | None:
        """The planned deployment, or its end; None while the turn in its chain has not come."""
        if deployment.chain_id:
            plannable, given_up = await self._reports.plannable(deployment)
            if given_up:
                return Finish(status=DeploymentStatus.CANCELLED, reason=given_up)
            if not plannable:
                return None
        if application.disabled:
            return _cannot("the application was disabled or deleted; enable it, then sync it again")
        try:
            async with self._few:
                return await self._planned(deployment)
        except Temporary:
            raise
        except (UserError, NotFound) as error:
            return _cannot(str(error))
        except PipecdError:
            raise
        except Exception:
            FAULTS.labels(loop="planner").inc()
            log.exception("fault while planning", deployment=deployment.id)
            return _cannot("internal error; report it with the agent's log, and sync again to retry")

    async def _planned(self, deployment: Deployment) -> Deployment:
        self._providers.config(deployment.platform_provider)
        chosen = platform(deployment.kind.name)
        last = await self._reports.last_successful(deployment.application_id)
        commit = deployment.trigger.commit.hash
        async with self._sources.checkout(deployment.git_path, commit) as source:
            target = await chosen.desired(source)
            how = decided(deployment.trigger, source.config)
            how = how or await self._asked(chosen, deployment, last, target)
            versions = tuple(chosen.versions(target))
            stages = _stages(chosen, source.config, how)
            limit = source.config.spec.timeout.total_seconds()
        return replace(
            deployment,
            status=DeploymentStatus.PLANNED,
            reason=PLANNED_REASON,
            summary=how.why,
            trigger=replace(deployment.trigger, strategy=how.strategy),
            versions=versions,
            stages=stages,
            running_commit=last.commit if last else "",
            running_config_filename=last.config_filename if last else "",
            shared={**deployment.shared, TIMEOUT: f"{limit:g}"},
        )

    async def _asked(
        self, chosen: Platform, deployment: Deployment, last: DeploymentReference | None, target: Any
    ) -> Strategy:
        """The platform's word, from what runs and what shall run."""
        if last is None:
            return chosen.strategy(None, target)
        path: GitPath = replace(deployment.git_path, config_filename=last.config_filename)
        try:
            async with self._sources.checkout(path, last.commit) as source:
                running = await chosen.desired(source)
        except (UserError, NotFound) as error:
            return Strategy(
                strategy=SyncStrategy.PIPELINE,
                why=f"Sync with the pipeline, because what runs now cannot be read: {error}",
            )
        return chosen.strategy(running, target)


def decided(trigger: Trigger, config: ApplicationConfig) -> Strategy | None:
    """What was asked for or the file decides; None leaves it to the platform."""
    spec = config.spec
    try:
        return strategy(
            trigger,
            pipeline=spec.pipeline.stages if spec.pipeline else (),
            always_use_pipeline=spec.planner.always_use_pipeline,
            commit_matcher=spec.commit_matcher,
        )
    except NoPipeline as error:
        raise ConfigError(
            f"{config.file}: {error}", remedy="write spec.pipeline, or choose a quick sync"
        ) from error


def _stages(chosen: Platform, config: ApplicationConfig, how: Strategy) -> tuple[Stage, ...]:
    rolls_back = ROLLBACK.name in chosen.stages
    automatic = auto_rollback(config.spec, default=chosen.auto_rollback)
    if how.strategy is SyncStrategy.QUICK_SYNC or not config.spec.pipeline:
        made = quick_sync_stages(chosen.quick_sync, rolls_back=rolls_back, auto_rollback=automatic)
    else:
        stages = config.spec.pipeline.stages
        made = pipeline_stages(stages, rolls_back=rolls_back, auto_rollback=automatic)
    return tuple(made)


def _cannot(why: str) -> Finish:
    return Finish(status=DeploymentStatus.FAILURE, reason=f"The deployment could not be planned: {why}")
