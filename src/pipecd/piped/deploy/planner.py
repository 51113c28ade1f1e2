"""Plans a pending deployment: its strategy, versions and stages. Called by `rollout`.

Collects the input of `model.plan`. A user error ends the deployment with its message. `Temporary` is raised,
and the caller retries.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog

from pipecd.config.application import ApplicationConfig, auto_rollback
from pipecd.errors import ConfigError, NotFound, PipecdError, Temporary, UserError
from pipecd.model.analysis import AnalysisProviders
from pipecd.model.application import Application, DeploymentReference, GitPath
from pipecd.model.deployment import Deployment, Stage, SyncStrategy, Trigger
from pipecd.model.plan import (
    ROLLBACK,
    NoPipeline,
    Strategy,
    determine_strategy,
    pipeline_stages,
    quick_sync_stages,
)
from pipecd.model.progress import TIMEOUT, Finish
from pipecd.model.stage import Source
from pipecd.model.status import DeploymentStatus
from pipecd.piped.metrics import INTERNAL_ERRORS
from pipecd.piped.providers import Providers
from pipecd.piped.session.report import Reporter
from pipecd.piped.source.checkout import Sources
from pipecd.piped.source.desired import load_desired_state
from pipecd.platforms import Platform
from pipecd.platforms.registry import load_platform
from pipecd.stages import check_pipeline

log = structlog.get_logger()

#: Each plan uses a checkout, and a change to shared files may trigger a thousand deployments at once.
MAX_CONCURRENT_PLANS = 4
BY_SCRIPTS = Strategy(
    strategy=SyncStrategy.PIPELINE, reason="Sync with the pipeline, because scripts deploy the application"
)
PLANNED_REASON = "The deployment was planned"


class Planner:
    def __init__(
        self, sources: Sources, reporter: Reporter, providers: Providers, analysis: AnalysisProviders
    ) -> None:
        self._sources, self._reporter, self._providers = sources, reporter, providers
        self._analysis = analysis
        self._semaphore = asyncio.Semaphore(MAX_CONCURRENT_PLANS)

    async def plan(self, deployment: Deployment, application: Application) -> Deployment | Finish | None:
        """The planned deployment, or its end. None while it waits for its turn in a deployment chain."""
        if deployment.chain_id:
            plannable, cancel_reason = await self._reporter.check_plannable(deployment)
            if cancel_reason:
                return Finish(status=DeploymentStatus.CANCELLED, reason=cancel_reason)
            if not plannable:
                return None
        if application.disabled:
            return planning_failed(
                "the application was disabled or deleted; enable the application, then sync it again"
            )
        try:
            async with self._semaphore:
                return await self._create_plan(deployment)
        except Temporary:
            raise
        except (UserError, NotFound) as error:
            return planning_failed(str(error))
        except PipecdError:
            raise
        except Exception:
            INTERNAL_ERRORS.labels(loop="planner").inc()
            log.exception("unhandled_error", deployment=deployment.id)
            return planning_failed("internal error; report it with the agent's log; sync again to retry")

    async def _create_plan(self, deployment: Deployment) -> Deployment:
        provider = self._providers.config(deployment.kind, deployment.platform_provider)
        platform = load_platform(deployment.kind)
        last = await self._reporter.get_last_successful(deployment.application_id)
        commit = deployment.trigger.commit.hash
        async with self._sources.read(deployment.git_path, commit, platform, provider=provider) as source:
            strategy = await configured_strategy(deployment.trigger, source.config)
            target = await self._load_target(platform, source, strategy)
            if target is not None:
                platform.check_providers(target, self._providers.of_kind(deployment.kind))
            if target is None:
                strategy = strategy or BY_SCRIPTS
            elif strategy is None or platform.refused_changes:
                running = await self._load_running(platform, deployment, last, provider)
                strategy = strategy or platform_strategy(platform, running, target)
                strategy = with_refused_changes(strategy, platform, running, target)
            if strategy.strategy is SyncStrategy.PIPELINE:
                await check_pipeline(source, self._analysis)
            versions = () if target is None else tuple(platform.versions(target))
            stages = _stages(platform, source.config, strategy, by_scripts=target is None)
            timeout = source.config.spec.timeout.total_seconds()
        return replace(
            deployment,
            status=DeploymentStatus.PLANNED,
            reason=PLANNED_REASON,
            summary=strategy.reason,
            trigger=replace(deployment.trigger, strategy=strategy.strategy),
            versions=versions,
            stages=stages,
            running_commit=last.commit if last else "",
            running_config_filename=last.config_filename if last else "",
            shared={**deployment.shared, TIMEOUT: f"{timeout:g}"},
        )

    async def _load_target(self, platform: Platform[Any], source: Source, strategy: Strategy | None) -> Any:
        """The desired state; None if it cannot be read and is not needed. A quick sync needs it."""
        if strategy and strategy.strategy is SyncStrategy.QUICK_SYNC:
            return await platform.load_desired_state(source)
        return await load_desired_state(platform, source)

    async def _load_running(
        self,
        platform: Platform[Any],
        deployment: Deployment,
        last: DeploymentReference | None,
        provider: Any,
    ) -> Any:
        """The running state: None before the first deployment, an error if it cannot be loaded."""
        if last is None:
            return None
        path: GitPath = replace(deployment.git_path, config_filename=last.config_filename)
        try:
            async with self._sources.read(
                path, last.commit, platform, deployed=True, provider=provider
            ) as source:
                return await platform.load_desired_state(source)
        except (UserError, NotFound) as error:
            return error


def platform_strategy(platform: Platform[Any], running: Any, target: Any) -> Strategy:
    """The strategy that the platform chooses. `running` is the result of `_load_running`."""
    if isinstance(running, PipecdError):
        return Strategy(
            strategy=SyncStrategy.PIPELINE,
            reason=f"Sync with the pipeline, because the running configuration cannot be loaded: {running}",
        )
    return platform.choose_strategy(running, target)


def with_refused_changes(strategy: Strategy, platform: Platform[Any], running: Any, target: Any) -> Strategy:
    """The strategy, whose reason also names the changes that the platform does not allow."""
    sentences = refused_changes(platform, running, target)
    return replace(strategy, reason=". ".join([strategy.reason, *sentences])) if sentences else strategy


def refused_changes(platform: Platform[Any], running: Any, target: Any) -> Sequence[str]:
    if platform.refused_changes is None or running is None or isinstance(running, PipecdError):
        return ()
    return platform.refused_changes(running, target)


async def configured_strategy(trigger: Trigger, config: ApplicationConfig) -> Strategy | None:
    """The strategy that was requested or that the file sets; None leaves it to the platform."""
    spec = config.spec
    try:
        # In a thread: patterns of a repository's author are matched.
        return await asyncio.to_thread(
            determine_strategy,
            trigger,
            pipeline=spec.pipeline.stages if spec.pipeline else (),
            always_use_pipeline=spec.planner.always_use_pipeline,
            commit_matcher=spec.commit_matcher,
        )
    except NoPipeline as error:
        raise ConfigError(
            f"{config.file}: {error}", remedy="define spec.pipeline, or request a quick sync"
        ) from error


def _stages(
    platform: Platform[Any], config: ApplicationConfig, strategy: Strategy, *, by_scripts: bool
) -> tuple[Stage, ...]:
    """`by_scripts`: the application has no files of its platform, which cannot roll it back then."""
    rolls_back = ROLLBACK.name in platform.stages and not by_scripts
    automatic = auto_rollback(config.spec, default=platform.auto_rollback)
    if strategy.strategy is SyncStrategy.QUICK_SYNC or not config.spec.pipeline:
        stages = quick_sync_stages(platform.quick_sync, rolls_back=rolls_back, auto_rollback=automatic)
    else:
        configured = config.spec.pipeline.stages
        stages = pipeline_stages(configured, rolls_back=rolls_back, auto_rollback=automatic)
    return tuple(stages)


def planning_failed(reason: str) -> Finish:
    return Finish(status=DeploymentStatus.FAILURE, reason=f"The deployment could not be planned: {reason}")
