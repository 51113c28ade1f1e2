"""Handles BUILD_PLAN_PREVIEW commands: what a pull request would change in each affected application.

One of the agent's loops. Handles a limited number of commands concurrently; the others stay pending at the
control plane. A command that this process does not complete is handled by the next one. Nothing outside the
checkouts is changed, and all texts pass through the redactor.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from pipecd import proto_json, tracing
from pipecd.clock import Clock, timeout
from pipecd.config.piped import PlanPreview
from pipecd.errors import NotFound, PipecdError, UserError
from pipecd.model.analysis import AnalysisProviders
from pipecd.model.application import Application, DeploymentReference, plugin_of_kind
from pipecd.model.command import BuildPlanPreview
from pipecd.model.deployment import SyncStrategy, Trigger
from pipecd.model.plan import Strategy
from pipecd.model.preview import Preview, PreviewRequest
from pipecd.model.stage import Source
from pipecd.piped.deploy.planner import BY_SCRIPTS, configured_strategy, platform_strategy, refused_changes
from pipecd.piped.loop import Wake, repeat
from pipecd.piped.metrics import INTERNAL_ERRORS, PREVIEW_SECONDS, PREVIEWS_HANDLED, PREVIEWS_RECEIVED
from pipecd.piped.providers import Providers
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.report import Reporter
from pipecd.piped.session.view import View
from pipecd.piped.source.checkout import Sources
from pipecd.piped.source.desired import is_deployed_by_scripts, load_desired_state
from pipecd.piped.source.pull_request import (
    AffectedApplication,
    MergedPullRequest,
    find_affected_applications,
    merge_pull_request,
)
from pipecd.platforms import Platform
from pipecd.platforms.registry import load_platform
from pipecd.retry import Retry
from pipecd.retry import call as retried
from pipecd.schema.model.plan_preview_pb2 import ApplicationPlanPreviewResult, PlanPreviewCommandResult
from pipecd.stages import check_pipeline
from pipecd.wire import has_number, kind_number, strategy_to

log = structlog.get_logger()

#: Retries of Git operations.
RETRY = Retry(base=1.0, cap=10.0, tries=6)
#: Used if the setting is 0; the timeout is in seconds.
DEFAULT_WORKERS, DEFAULT_TIMEOUT = 3, 300.0
#: In bytes, per application and per result: a result is sent as base64 in one message of at most 4 MiB.
MAX_DETAILS_SIZE, MAX_TOTAL_SIZE = 256 * 1024, 2 * 1024 * 1024
INTERNAL_ERROR = "internal error; report it with the agent's log"


@dataclass(frozen=True, kw_only=True)
class PreviewServices:
    """The components that plan previews use."""

    view: View
    leadership: Leadership
    reporter: Reporter
    sources: Sources
    providers: Providers
    analysis: AnalysisProviders
    #: Masks secrets in a text.
    redact: Callable[[str], str]
    clock: Clock


@dataclass(frozen=True, kw_only=True)
class _Deadline:
    seconds: float
    clock: Clock
    #: In monotonic seconds.
    until: float

    @property
    def remaining(self) -> float:
        """Seconds."""
        return self.until - self.clock.monotonic()

    @property
    def message(self) -> str:
        return f"the plan preview timed out after {self.seconds:g} s"


class PlanPreviewLoop:
    def __init__(self, services: PreviewServices, settings: PlanPreview) -> None:
        self._services, self._settings = services, settings
        self._workers = settings.worker_num or DEFAULT_WORKERS
        #: Limits concurrent plans across all commands.
        self._semaphore = asyncio.Semaphore(self._workers)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._wake = Wake()

    async def run(self) -> None:
        """Handles commands as they arrive. Runs until cancelled."""
        view, leadership = self._services.view, self._services.leadership
        await view.wait_until_loaded()
        async with asyncio.TaskGroup() as tasks:
            await repeat(
                "plan previews",
                partial(self._start_pending, tasks),
                clock=self._services.clock,
                interval=self._settings.command_check_interval.total_seconds() or 5.0,
                wake=self._wake,
                feeds=(view.commands_feed, leadership.feed),
            )

    async def _start_pending(self, tasks: asyncio.TaskGroup) -> None:
        if not self._services.leadership.lease.may_begin:
            return
        for command in list(self._services.view.commands.values()):
            if len(self._running) >= self._workers:
                return
            if isinstance(command, BuildPlanPreview) and command.id not in self._running:
                PREVIEWS_RECEIVED.inc()
                task = tasks.create_task(self._handle(command), name=f"plan preview {command.id}")
                self._running[command.id] = task
                task.add_done_callback(partial(self._remove_task, command.id))

    def _remove_task(self, command_id: str, _: asyncio.Task[None]) -> None:
        del self._running[command_id]
        self._wake()

    async def _handle(self, command: BuildPlanPreview) -> None:
        with tracing.span("plan preview", parent=command.trace_parent, attributes={"command-id": command.id}):
            await self._answer(command)

    async def _answer(self, command: BuildPlanPreview) -> None:
        clock = self._services.clock
        started = clock.monotonic()
        log.info("plan_preview_started", command=command.id, head=command.head_commit[:12])
        result = await self._build_result(command)
        status = "COMMAND_FAILED" if result.error else "COMMAND_SUCCEEDED"
        try:
            await self._report(command, result)
        except PipecdError as error:
            # Another process reported a result, or the command expired: the caller has a result.
            log.warning("plan_preview_result_rejected", command=command.id, error=str(error))
        self._services.view.mark_finished(command.id)
        PREVIEWS_HANDLED.labels(status).inc()
        PREVIEW_SECONDS.labels(status).observe(clock.monotonic() - started)
        log.info(
            "plan_preview_completed", command=command.id, results=len(result.results), error=result.error
        )

    async def _report(self, command: BuildPlanPreview, result: PlanPreviewCommandResult) -> None:
        output = proto_json.dumps(result).encode()
        if result.error:
            await self._services.reporter.report_command_failed(command.id, result.error, output=output)
        else:
            await self._services.reporter.report_command_succeeded(command.id, output=output)

    async def _build_result(self, command: BuildPlanPreview) -> PlanPreviewCommandResult:
        """The result; errors become part of it."""
        clock = self._services.clock
        seconds = command.timeout or self._settings.command_handle_timeout.total_seconds() or DEFAULT_TIMEOUT
        deadline = _Deadline(seconds=seconds, clock=clock, until=clock.monotonic() + seconds)
        result = PlanPreviewCommandResult(command_id=command.id)
        try:
            async with timeout(clock, deadline.remaining):
                pull_request, affected = await self._find_affected(command)
            result.results.extend(await self._results(command, pull_request, affected, deadline))
        except TimeoutError:
            result.error = deadline.message
        except PipecdError as error:
            result.error = self._services.redact(str(error))
        except Exception:
            INTERNAL_ERRORS.labels(loop="plan preview").inc()
            log.exception("unhandled_error", command=command.id)
            result.error = INTERNAL_ERROR
        return result

    async def _find_affected(
        self, command: BuildPlanPreview
    ) -> tuple[MergedPullRequest, Sequence[AffectedApplication]]:
        sources = self._services.sources
        repository = sources.repository(command.repository_id)
        pull_request = await retried(
            lambda: merge_pull_request(sources.mirrors, repository, command),
            RETRY,
            sleep=self._services.clock.sleep,
        )
        applications = [
            application
            for application in self._services.view.applications.values()
            if application.git_path.repo_id == repository.id and not application.disabled
        ]
        return pull_request, await find_affected_applications(
            sources.mirrors, pull_request, sorted(applications, key=lambda item: (item.name, item.id))
        )

    async def _results(
        self,
        command: BuildPlanPreview,
        pull_request: MergedPullRequest,
        affected: Sequence[AffectedApplication],
        deadline: _Deadline,
    ) -> Sequence[ApplicationPlanPreviewResult]:
        max_size = min(MAX_DETAILS_SIZE, MAX_TOTAL_SIZE // max(len(affected), 1))
        async with asyncio.TaskGroup() as tasks:
            preview_tasks = [
                tasks.create_task(self._result(item, pull_request, command, deadline, max_size))
                for item in affected
            ]
        return [task.result() for task in preview_tasks]

    async def _result(
        self,
        affected: AffectedApplication,
        pull_request: MergedPullRequest,
        command: BuildPlanPreview,
        deadline: _Deadline,
        max_size: int,
    ) -> ApplicationPlanPreviewResult:
        application, redact = affected.application, self._services.redact
        result = ApplicationPlanPreviewResult(
            application_id=application.id,
            application_name=application.name,
            application_kind=kind_number(application.kind),
            plugin_names=[] if has_number(application.kind) else [plugin_of_kind(application.kind)],
            application_directory=application.git_path.path,
            piped_id=application.piped_id,
            project_id=application.project_id,
            labels=dict(application.labels),
            head_branch=command.head_branch,
            head_commit=command.head_commit,
            created_at=int(self._services.clock.now()),
        )
        try:
            if affected.error:
                result.error = redact(affected.error)
                return result
            async with timeout(self._services.clock, deadline.remaining), self._semaphore:
                strategy, preview = await self._preview(application, pull_request)
        except TimeoutError:
            result.error = deadline.message
        except PipecdError as error:
            result.error = redact(str(error))
        except Exception:
            INTERNAL_ERRORS.labels(loop="plan preview").inc()
            log.exception("unhandled_error", application=application.id)
            result.error = INTERNAL_ERROR
        else:
            result.sync_strategy = strategy_to(strategy.strategy)
            result.no_change = preview.no_change
            result.error = redact(preview.error)
            result.plan_summary = redact(preview.summary).encode()
            result.plan_details = _truncate(redact(preview.details).encode(errors="replace"), max_size)
        return result

    async def _preview(
        self, application: Application, pull_request: MergedPullRequest
    ) -> tuple[Strategy, Preview]:
        services = self._services
        platform = load_platform(application.kind)
        if platform.plan_preview is None:
            raise _unsupported(platform)
        last = await services.reporter.get_last_successful(application.id)
        provider = services.providers.config(application.kind, application.platform_provider)
        async with AsyncExitStack() as exit_stack:
            head = await exit_stack.enter_async_context(
                services.sources.checkout(application.git_path, pull_request.commit.hash, provider=provider)
            )
            running = _RunningSource(application, last, services.sources, exit_stack, provider)
            target: Any = None
            if is_deployed_by_scripts(head.config):
                target = await load_desired_state(platform, head)
                if target is None:
                    await check_pipeline(head, services.analysis)
                    return BY_SCRIPTS, Preview(summary="Scripts deploy this application: no preview")
            strategy, refused = await _determine_strategy(platform, pull_request, head, running, target)
            if strategy.strategy is SyncStrategy.PIPELINE:
                await check_pipeline(head, services.analysis)
            request = PreviewRequest(
                application=application,
                provider=provider,
                providers=services.providers.of_kind(application.kind),
                head=head,
                running=running,
            )
            return strategy, with_refused_changes(await platform.plan_preview(request), refused)


class _RunningSource:
    """The checkout at the running commit, created on first use."""

    def __init__(
        self,
        application: Application,
        last: DeploymentReference | None,
        sources: Sources,
        exit_stack: AsyncExitStack,
        provider: Any,
    ) -> None:
        self._application, self._last, self._provider = application, last, provider
        self._sources, self._exit_stack = sources, exit_stack
        self._source: Source | None = None

    async def __call__(self) -> Source | None:
        if self._last and not self._source:
            path = replace(self._application.git_path, config_filename=self._last.config_filename)
            checkout = self._sources.checkout(path, self._last.commit, deployed=True, provider=self._provider)
            self._source = await self._exit_stack.enter_async_context(checkout)
        return self._source


async def _determine_strategy(
    platform: Platform[Any],
    pull_request: MergedPullRequest,
    head: Source,
    running: _RunningSource,
    target: Any,
) -> tuple[Strategy, Sequence[str]]:
    """The strategy for deploying the merge, and the changes that the platform does not allow.

    `target` is the desired state of `head`, or None if it is not loaded yet.
    Ignores the commit message, which is unknown before the merge.
    """
    trigger = Trigger(commit=pull_request.commit, timestamp=0, commander="pipectl")
    strategy = await configured_strategy(trigger, head.config)
    if strategy and platform.refused_changes is None:
        return strategy, ()
    if target is None:
        target = await platform.load_desired_state(head)
    state: Any = None
    try:
        if source := await running():
            state = await platform.load_desired_state(source)
    except (UserError, NotFound) as error:
        state = error
    strategy = strategy or platform_strategy(platform, state, target)
    return strategy, refused_changes(platform, state, target)


def with_refused_changes(preview: Preview, refused: Sequence[str]) -> Preview:
    """The preview, which names the changes that the platform does not allow first."""
    if not refused:
        return preview
    details = "\n".join([*(f"! {sentence}" for sentence in refused), preview.details])
    return replace(preview, summary=". ".join([preview.summary, *refused]), details=details)


def _unsupported(platform: Platform[Any]) -> UserError:
    return UserError(f"this version of the agent does not support plan previews of {platform.config_kind}")


def _truncate(text: bytes, max_size: int) -> bytes:
    if len(text) <= max_size:
        return text
    truncated = text[:max_size].decode(errors="ignore")
    return f"{truncated}\n… {len(text) - max_size} more bytes".encode()
