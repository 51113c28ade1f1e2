"""Answers BUILD_PLAN_PREVIEW: what a pull request would change in each application that it concerns.

One of the agent's loops. A few commands are worked on at a time, the others wait with the control plane; a
command that this process did not live to answer is answered by the next one. Nothing outside the checkouts is
changed, and every text goes through the redactor.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from pipecd import proto_json
from pipecd.config.piped import PlanPreview
from pipecd.errors import NotFound, PipecdError, UserError
from pipecd.model.application import Application, DeploymentReference
from pipecd.model.command import BuildPlanPreview
from pipecd.model.deployment import SyncStrategy, Trigger
from pipecd.model.plan import Strategy
from pipecd.model.preview import Preview, PreviewWork
from pipecd.model.stage import Source
from pipecd.piped.deploy.planner import decided
from pipecd.piped.loop import Wake, keep
from pipecd.piped.metrics import FAULTS, PREVIEW_SECONDS, PREVIEWS_ANSWERED, PREVIEWS_ASKED
from pipecd.piped.providers import Providers
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.report import Reports
from pipecd.piped.session.view import View
from pipecd.piped.source.checkout import Sources
from pipecd.piped.source.pull_request import Concerned, Merged, concerned, merged
from pipecd.platforms import Platform, Previews, platform
from pipecd.retry import Retry
from pipecd.retry import call as retried
from pipecd.schema.model.plan_preview_pb2 import ApplicationPlanPreviewResult, PlanPreviewCommandResult
from pipecd.wire import kind_to, strategy_to

log = structlog.get_logger()

#: How Git is asked again while it is away.
AGAIN = Retry(base=1.0, cap=10.0, tries=6)
#: When a setting is 0, it is left to us.
USUAL_WORKERS, USUAL_TIMEOUT = 3, 300.0
#: An answer travels in one message of at most 4 MiB, in base64 (bytes before that).
MOST_DETAILS, MOST_TOGETHER = 256 * 1024, 2 * 1024 * 1024
INTERNAL = "internal error; report it with the agent's log"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What previews are made with."""

    view: View
    leadership: Leadership
    reports: Reports
    sources: Sources
    providers: Providers
    #: Makes a text fit to be shown.
    clean: Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class _Bound:
    seconds: float
    #: On the loop's clock.
    until: float

    @property
    def sentence(self) -> str:
        return f"the preview was not finished within {self.seconds:g} s"


class Previewing:
    def __init__(self, parts: Parts, settings: PlanPreview) -> None:
        self._parts, self._settings = parts, settings
        self._workers = settings.worker_num or USUAL_WORKERS
        #: However many pull requests there are, so many plans run at a time.
        self._few = asyncio.Semaphore(self._workers)
        self._at_work: dict[str, asyncio.Task[None]] = {}
        self._wake = Wake()

    async def follow(self) -> None:
        """Answer commands as they come, for ever."""
        view, leadership = self._parts.view, self._parts.leadership
        await view.loaded()
        async with asyncio.TaskGroup() as tasks:
            await keep(
                "plan previews",
                partial(self._begin, tasks),
                interval=self._settings.command_check_interval.total_seconds() or 5.0,
                wake=self._wake,
                feeds=(view.commands_feed, leadership.feed),
            )

    async def _begin(self, tasks: asyncio.TaskGroup) -> None:
        if not self._parts.leadership.lease.may_begin:
            return
        for command in list(self._parts.view.commands.values()):
            if len(self._at_work) >= self._workers:
                return
            if isinstance(command, BuildPlanPreview) and command.id not in self._at_work:
                PREVIEWS_ASKED.inc()
                task = tasks.create_task(self._answer(command), name=f"plan preview {command.id}")
                self._at_work[command.id] = task
                task.add_done_callback(partial(self._left, command.id))

    def _left(self, command_id: str, _: asyncio.Task[None]) -> None:
        del self._at_work[command_id]
        self._wake()

    async def _answer(self, command: BuildPlanPreview) -> None:
        begun = time.monotonic()
        log.info("plan preview begins", command=command.id, head=command.head_commit[:12])
        made = await self._made(command)
        status = "COMMAND_FAILED" if made.error else "COMMAND_SUCCEEDED"
        try:
            await self._report(command, made)
        except PipecdError as error:
            # Another process answered it, or it expired: who asked has an answer.
            log.warning("plan preview is not wanted any more", command=command.id, why=str(error))
        self._parts.view.finished(command.id)
        PREVIEWS_ANSWERED.labels(status).inc()
        PREVIEW_SECONDS.labels(status).observe(time.monotonic() - begun)
        log.info("plan preview answered", command=command.id, results=len(made.results), why=made.error)

    async def _report(self, command: BuildPlanPreview, made: PlanPreviewCommandResult) -> None:
        output = proto_json.dumps(made).encode()
        if made.error:
            await self._parts.reports.refused(command.id, made.error, output=output)
        else:
            await self._parts.reports.handled(command.id, output=output)

    async def _made(self, command: BuildPlanPreview) -> PlanPreviewCommandResult:
        """The answer, whatever happens on the way to it."""
        limit = command.timeout or self._settings.command_handle_timeout.total_seconds() or USUAL_TIMEOUT
        bound = _Bound(seconds=limit, until=asyncio.get_running_loop().time() + limit)
        made = PlanPreviewCommandResult(command_id=command.id)
        try:
            async with asyncio.timeout_at(bound.until):
                request, found = await self._looked_at(command)
            made.results.extend(await self._results(command, request, found, bound))
        except TimeoutError:
            made.error = bound.sentence
        except PipecdError as error:
            made.error = self._parts.clean(str(error))
        except Exception:
            FAULTS.labels(loop="plan preview").inc()
            log.exception("fault in a plan preview", command=command.id)
            made.error = INTERNAL
        return made

    async def _looked_at(self, command: BuildPlanPreview) -> tuple[Merged, Sequence[Concerned]]:
        sources = self._parts.sources
        repository = sources.repository(command.repository_id)
        request = await retried(lambda: merged(sources.mirrors, repository, command), AGAIN)
        mine = [
            one
            for one in self._parts.view.applications.values()
            if one.git_path.repo_id == repository.id and not one.disabled
        ]
        return request, await concerned(
            sources.mirrors, request, sorted(mine, key=lambda one: (one.name, one.id))
        )

    async def _results(
        self, command: BuildPlanPreview, request: Merged, found: Sequence[Concerned], bound: _Bound
    ) -> Sequence[ApplicationPlanPreviewResult]:
        most = min(MOST_DETAILS, MOST_TOGETHER // max(len(found), 1))
        async with asyncio.TaskGroup() as tasks:
            at_work = [tasks.create_task(self._result(one, request, command, bound, most)) for one in found]
        return [task.result() for task in at_work]

    async def _result(
        self, one: Concerned, request: Merged, command: BuildPlanPreview, bound: _Bound, most: int
    ) -> ApplicationPlanPreviewResult:
        application, clean = one.application, self._parts.clean
        made = ApplicationPlanPreviewResult(
            application_id=application.id,
            application_name=application.name,
            application_kind=kind_to(application.kind),
            application_directory=application.git_path.path,
            piped_id=application.piped_id,
            project_id=application.project_id,
            labels=dict(application.labels),
            head_branch=command.head_branch,
            head_commit=command.head_commit,
            created_at=int(time.time()),
        )
        try:
            if one.error:
                made.error = clean(one.error)
                return made
            async with asyncio.timeout_at(bound.until), self._few:
                how, preview = await self._previewed(application, request)
        except TimeoutError:
            made.error = bound.sentence
        except PipecdError as error:
            made.error = clean(str(error))
        except Exception:
            FAULTS.labels(loop="plan preview").inc()
            log.exception("fault in a plan preview", application=application.id)
            made.error = INTERNAL
        else:
            made.sync_strategy = strategy_to(how.strategy)
            made.no_change = preview.no_change
            made.plan_summary = clean(preview.summary).encode()
            made.plan_details = _cut(clean(preview.details).encode(errors="replace"), most)
        return made

    async def _previewed(self, application: Application, request: Merged) -> tuple[Strategy, Preview]:
        parts = self._parts
        chosen = platform(application.kind.name)
        if not isinstance(chosen, Previews):
            raise _unsupported(chosen)
        last = await parts.reports.last_successful(application.id)
        async with AsyncExitStack() as held:
            head = await held.enter_async_context(
                parts.sources.checkout(application.git_path, request.commit.hash)
            )
            running = _Running(application, last, parts.sources, held)
            how = await _strategy(chosen, request, head, running)
            work = PreviewWork(
                application=application,
                provider=parts.providers.config(application.platform_provider),
                head=head,
                running=running,
            )
            return how, await chosen.plan_preview(work)


class _Running:
    """The checkout at the running commit, made when it is asked for."""

    def __init__(
        self,
        application: Application,
        last: DeploymentReference | None,
        sources: Sources,
        held: AsyncExitStack,
    ) -> None:
        self._application, self._last, self._sources, self._held = application, last, sources, held
        self._made: Source | None = None

    async def __call__(self) -> Source | None:
        if self._last and not self._made:
            path = replace(self._application.git_path, config_filename=self._last.config_filename)
            checkout = self._sources.checkout(path, self._last.commit)
            self._made = await self._held.enter_async_context(checkout)
        return self._made


async def _strategy(chosen: Platform, request: Merged, head: Source, running: _Running) -> Strategy:
    """How the merge would be synced; the message of a merge that is not made yet decides nothing."""
    trigger = Trigger(commit=request.commit, timestamp=0, commander="pipectl")
    if how := decided(trigger, head.config):
        return how
    target: Any = await chosen.desired(head)
    try:
        source = await running()
        return chosen.strategy(await chosen.desired(source) if source else None, target)
    except (UserError, NotFound):
        return Strategy(strategy=SyncStrategy.PIPELINE, why="what runs now cannot be read")


def _unsupported(chosen: Platform) -> UserError:
    return UserError(f"a {chosen.config_kind} cannot be previewed by this version of the agent")


def _cut(text: bytes, most: int) -> bytes:
    if len(text) <= most:
        return text
    kept = text[:most].decode(errors="ignore")
    return f"{kept}\n… {len(text) - most} bytes more".encode()
