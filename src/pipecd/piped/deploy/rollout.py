"""Runs one deployment to completion: get the next step from `model.progress`, take it, report it, repeat.

Called by `workers`. A kill or shutdown at any point reports nothing; the next process continues from the last
report.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field

import structlog

from pipecd import tracing
from pipecd.clock import Clock, Elapsed
from pipecd.errors import Conflict, NotFound, PermissionDenied, Refused, Temporary
from pipecd.model.application import Application
from pipecd.model.command import CancelDeployment
from pipecd.model.deployment import Deployment, Stage
from pipecd.model.notification import NotificationEvent
from pipecd.model.progress import (
    ROLLBACK_STARTED_AT,
    STARTED_AT,
    TIMEOUT,
    Finish,
    Halt,
    Plan,
    Run,
    Start,
    Stop,
    StopKind,
    apply_outcome,
    apply_step,
    next_step,
)
from pipecd.model.stage import Again, Outcome, StageAction
from pipecd.model.status import DeploymentStatus, StageStatus, SyncStatus
from pipecd.model.trigger import displaced_by
from pipecd.piped.deploy.perform import Postponed, StageRun, StageServices
from pipecd.piped.deploy.planner import Planner, planning_failed
from pipecd.piped.loop import Wake
from pipecd.piped.metrics import set_deployment_status
from pipecd.piped.notify.changes import deployment_events
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.report import Reporter
from pipecd.piped.session.sync_states import SyncStates
from pipecd.piped.session.view import View
from pipecd.piped.settings import RolloutSettings
from pipecd.piped.traces import attributes_of, deployment_span, record_changes
from pipecd.retry import Backoff

log = structlog.get_logger()

#: Timeout of a deployment whose plan has none, in seconds.
DEFAULT_TIMEOUT = 6 * 3600


@dataclass(frozen=True, kw_only=True)
class RolloutServices:
    """The components that every rollout uses."""

    view: View
    leadership: Leadership
    reporter: Reporter
    sync_states: SyncStates
    planner: Planner
    stage_services: StageServices
    notify: Callable[[NotificationEvent], None]
    clock: Clock
    settings: RolloutSettings
    #: Ids of deployments with a stage call in progress, or whose outcome is not reported yet.
    active_deployments: set[str] = field(default_factory=set)

    @contextmanager
    def mark_active(self, deployment_id: str) -> Iterator[None]:
        self.active_deployments.add(deployment_id)
        try:
            yield
        finally:
            self.active_deployments.discard(deployment_id)


class Rollout:
    def __init__(
        self,
        deployment: Deployment,
        services: RolloutServices,
        another_may_go_first: Callable[[], bool] = lambda: False,
    ) -> None:
        """`another_may_go_first`: whether another deployment is run if this one waits for its chain."""
        self.deployment = deployment
        self._services = services
        self._another_may_go_first = another_may_go_first
        self._passed = False
        self._wake = Wake()
        self._exit_stack = AsyncExitStack()
        self._stage_run: tuple[str, StageRun] | None = None
        self._backoff = Backoff(services.settings.retry)
        self._planning_attempts = 0
        self._elapsed = Elapsed(services.clock)
        #: Id of the stage that this rollout started and has not called yet.
        self._started_stage = ""

    async def run(self) -> bool:
        """Returns when the deployment is completed, or no longer belongs to this agent: False.

        True if another deployment goes first, because this one waits for its turn in a chain.
        """
        for stage in self.deployment.stages:
            # An earlier process may have been killed between ending a stage and completing its log.
            if stage.status.final:
                self._services.stage_services.logs.complete(self.deployment.id, stage.id)
        with self._services.view.commands_feed.subscribe(self._wake):
            try:
                while await self._step():
                    pass
            finally:
                await self._close_stage_run()
        return self._passed

    async def _step(self) -> bool:
        """Takes one step; returns whether more may follow."""
        try:
            return await self._take_step()
        except Conflict as error:
            await self._reload(error)
            return True
        except Refused as error:
            return await self._fail_deployment(error)
        except (NotFound, PermissionDenied) as error:
            log.error("deployment_not_accessible", deployment=self.deployment.id, error=str(error))
            return False

    async def _take_step(self) -> bool:
        await self._services.leadership.wait_until_may_begin()
        with tracing.within(deployment_span(self.deployment)):
            return await self._take_next_step()

    async def _take_next_step(self) -> bool:
        await self._refuse_late_rejection()
        match next_step(self.deployment, self._stop()):
            case None:
                return False
            case Plan() if reason := self._displaced():
                finish = Finish(status=DeploymentStatus.CANCELLED, reason=reason)
                await self._record(apply_step(self.deployment, finish, self._now()))
            case Plan():
                await self._plan()
                return not self._passed
            case Run(stage=stage):
                await self._call(stage)
            case step:
                if isinstance(step, Halt) and step.stage.status is StageStatus.RUNNING:
                    # Before the end of the stage is recorded, so that a kill in between repeats it.
                    stage_run = await self._open_stage_run(step.stage)
                    await stage_run.stop(self.deployment)
                await self._record(apply_step(self.deployment, step, self._now()))
                self._started_stage = step.stage.id if isinstance(step, Start) else ""
        return True

    def _displaced(self) -> str:
        application = self._services.view.applications.get(self.deployment.application_id)
        pin = application.pin if application else None
        return displaced_by(pin, self.deployment, now=self._services.clock.now())

    async def _plan(self) -> None:
        # Changes while it is planned count too: the plan may be based on what was before.
        with self._services.view.deployments_feed.subscribe(self._wake):
            await self._try_to_plan()

    async def _try_to_plan(self) -> None:
        deployment = self.deployment
        try:
            await self._services.reporter.report_deploying(deployment.application_id, deploying=True)
            with tracing.span("Plan", attributes=attributes_of(deployment)):
                planned = await self._services.planner.plan(deployment, self._application())
        except Temporary as error:
            self._planning_attempts += 1
            if self._planning_attempts < self._services.settings.max_planning_attempts:
                log.warning("planning_delayed", deployment=deployment.id, error=str(error))
                await self._wait(self._backoff.next_delay())
                return
            planned = planning_failed(str(error))
        match planned:
            case None:
                await self._wait_for_chain()
                self._passed = self._stop() is None and self._another_may_go_first()
            case Finish() as finish:
                await self._record(apply_step(deployment, finish, self._now()))
            case _:
                await self._record(planned)

    async def _wait_for_chain(self) -> None:
        """Until a block of the chain may have ended: the control plane says so, unless it is PipeCD's."""
        interval = min(self._services.settings.chain_poll_interval, self._remaining_seconds())
        await self._wake.wait_within(self._services.clock, interval)

    async def _call(self, stage: Stage) -> None:
        stage_run = await self._open_stage_run(stage)
        actions = self._services.view.stage_actions(self.deployment.id, stage.id)
        with self._services.mark_active(self.deployment.id):
            outcome = await self._run_until_stopped(stage, stage_run(self.deployment, actions))
            if outcome is None:
                stage_run.log.error(self._stop_message())
                return
            await self._record(apply_outcome(self.deployment, stage, outcome, self._now()))
        for action in () if isinstance(outcome, Postponed) else actions:
            await self._services.reporter.report_command_succeeded(action.id)
            self._services.view.mark_finished(action.id)
        if isinstance(outcome, Again):
            await self._pause(stage, outcome.after, actions)

    async def _record(self, updated: Deployment) -> None:
        """Reports the changes and adopts `updated` as the current state."""
        ended = [
            now.id
            for old, now in zip(self.deployment.stages, updated.stages, strict=False)
            if now.status.final and not old.status.final
        ]
        for stage_id in ended:
            await self._services.stage_services.logs.store(updated.id, stage_id)
        await self._services.reporter.report_changes(self.deployment, updated)
        self._notify(self.deployment, updated)
        for stage_id in ended:
            await self._close_stage_run()
            self._services.stage_services.logs.complete(updated.id, stage_id)
        if updated != self.deployment:
            self._backoff.reset()
        record_changes(self.deployment, updated, self._services.clock.now())
        changed = updated.status is not self.deployment.status
        self.deployment = updated
        if changed:
            set_deployment_status(updated)
        if changed and updated.status is DeploymentStatus.RUNNING:
            await self._report_deploying(updated)
        if updated.status.final:
            await self._report_result(updated)

    def _notify(self, old: Deployment, new: Deployment) -> None:
        cancel = self._services.view.find_cancel(new.id)
        commander = cancel.commander if cancel else ""
        for event in deployment_events(old, new, commander=commander, at=self._now()):
            self._services.notify(event)

    async def _report_deploying(self, deployment: Deployment) -> None:
        application = self._services.view.applications.get(deployment.application_id)
        if application:
            await self._services.sync_states.report(
                application,
                SyncStatus.DEPLOYING,
                short="A deployment is in progress",
                head=deployment.id,
            )

    async def _report_result(self, deployment: Deployment) -> None:
        """Reports the application's sync state after the deployment, and the result of a cancel command."""
        reporter, view = self._services.reporter, self._services.view
        if deployment.status is DeploymentStatus.SUCCESS:
            status, message = SyncStatus.SYNCED, "The last deployment succeeded"
        else:
            status, message = SyncStatus.OUT_OF_SYNC, "The last deployment did not succeed"
        if application := view.applications.get(deployment.application_id):
            await self._services.sync_states.report(
                application,
                status,
                short=message,
                reason=f"{message}: {deployment.reason}",
                head=deployment.id,
            )
        cancel = view.find_cancel(deployment.id)
        if cancel is None:
            return
        if deployment.status is DeploymentStatus.CANCELLED:
            await reporter.report_command_succeeded(cancel.id)
        else:
            await reporter.report_command_failed(
                cancel.id, f"the deployment ended before it was cancelled: {deployment.reason}"
            )
        view.mark_finished(cancel.id)

    async def _run_until_stopped(self, stage: Stage, call: Coroutine[None, None, Outcome]) -> Outcome | None:
        """The call's outcome; None if the deployment was stopped first and the call was cancelled."""
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(call, name=f"stage {stage.id}")
            guard = tasks.create_task(self._cancel_when_stopped(running))
            running.add_done_callback(lambda _: guard.cancel())
        return None if running.cancelled() else running.result()

    async def _cancel_when_stopped(self, running: asyncio.Task[Outcome]) -> None:
        while not self._stop():
            await self._wake.wait_within(self._services.clock, self._remaining_seconds())
        running.cancel()

    async def _pause(self, stage: Stage, seconds: float, handled: tuple[StageAction, ...]) -> None:
        """Waits `seconds`, or until a new stage action arrives or the deployment must stop."""
        handled_ids = {action.id for action in handled}

        def has_new_action() -> bool:
            actions = self._services.view.stage_actions(self.deployment.id, stage.id)
            return any(action.id not in handled_ids for action in actions)

        await self._wait(seconds, has_new_action)

    async def _wait(self, seconds: float, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Waits `seconds`, or until the deployment must stop or a command has `interrupted` the wait."""
        clock = self._services.clock
        until = clock.monotonic() + seconds
        while (remaining := until - clock.monotonic()) > 0 and not (self._stop() or interrupted()):
            await self._wake.wait_within(clock, min(remaining, self._remaining_seconds()))

    async def _refuse_late_rejection(self) -> None:
        """Answers a rejection of a stage that another user approved at the same time."""
        cancel = self._services.view.find_cancel(self.deployment.id)
        if cancel is None or not self._is_late(cancel):
            return
        name = self.deployment.stage(cancel.rejected_stage_id).name
        reason = f"stage {name} has already ended; cancel the deployment instead"
        await self._services.reporter.report_command_failed(cancel.id, reason)
        self._services.view.mark_finished(cancel.id)

    def _is_late(self, cancel: CancelDeployment) -> bool:
        """Whether it rejects a stage that ended in another way."""
        return any(
            stage.id == cancel.rejected_stage_id
            and stage.status.final
            and stage.status is not StageStatus.CANCELLED
            for stage in self.deployment.stages
        )

    def _stop(self) -> Stop | None:
        """Why the running stages must stop; None if they may continue."""
        deployment = self.deployment
        cancel = self._services.view.find_cancel(deployment.id)
        if cancel and deployment.status is not DeploymentStatus.ROLLING_BACK and not self._is_late(cancel):
            return Stop(
                kind=StopKind.CANCELLED,
                requested_by=cancel.commander,
                rollback=cancel.rollback,
                rejected_stage=cancel.rejected_stage_id,
                comment=cancel.comment,
            )
        return Stop(kind=StopKind.TIMED_OUT) if self._remaining_seconds() <= 0 else None

    def _stop_message(self) -> str:
        stop = self._stop()
        if stop and stop.kind is StopKind.CANCELLED:
            return f"{'Rejected' if stop.rejected_stage else 'Cancelled'} by {stop.requested_by}"
        return "Stopped: the deployment timed out"

    def _remaining_seconds(self) -> float:
        """Seconds until the stages, or the rollback, time out."""
        shared = self.deployment.shared
        rolling_back = self.deployment.status is DeploymentStatus.ROLLING_BACK
        stored = shared.get(ROLLBACK_STARTED_AT if rolling_back else STARTED_AT)
        limit = float(shared.get(TIMEOUT, DEFAULT_TIMEOUT))
        return limit if stored is None else limit - self._elapsed.since(float(stored))

    def _now(self) -> int:
        return int(self._services.clock.now())

    def _application(self) -> Application:
        """The current application. If it was deleted, it is built from the deployment, for a rollback."""
        application = self._services.view.applications.get(self.deployment.application_id)
        return application or _deleted_application(self.deployment)

    async def _open_stage_run(self, stage: Stage) -> StageRun:
        if self._stage_run and self._stage_run[0] == stage.id:
            return self._stage_run[1]
        await self._close_stage_run()
        interrupted, self._started_stage = stage.id != self._started_stage, ""
        stage_context = self._services.stage_services.open_stage(
            self._application(), self.deployment, stage, interrupted=interrupted
        )
        stage_run = await self._exit_stack.enter_async_context(stage_context)
        self._stage_run = (stage.id, stage_run)
        return stage_run

    async def _close_stage_run(self) -> None:
        self._stage_run = None
        await self._exit_stack.aclose()
        self._exit_stack = AsyncExitStack()

    async def _reload(self, error: Conflict) -> None:
        """Reloads the deployment after a conflict: another process changed it, or the lease was lost."""
        log.warning("report_conflict", deployment=self.deployment.id, error=str(error))
        await self._close_stage_run()
        # Not cut short by a command: the stop that it requests may be what is rejected.
        await self._services.clock.sleep(self._backoff.next_delay())
        await self._services.leadership.wait_until_may_begin()
        self.deployment = await self._services.reporter.get_deployment(self.deployment.id)

    async def _fail_deployment(self, error: Refused) -> bool:
        """Ends the deployment when the control plane permanently rejects a report, instead of hanging."""
        log.error("report_rejected", deployment=self.deployment.id, error=str(error))
        finish = Finish(
            status=DeploymentStatus.FAILURE, reason=f"The control plane rejected a report: {error}"
        )
        try:
            await self._record(apply_step(self.deployment, finish, self._now()))
        except (Refused, Conflict, NotFound, PermissionDenied) as report_error:
            log.error("deployment_not_ended", deployment=self.deployment.id, error=str(report_error))
        return False


def _deleted_application(deployment: Deployment) -> Application:
    return Application(
        id=deployment.application_id,
        name=deployment.application_name,
        piped_id=deployment.piped_id,
        project_id=deployment.project_id,
        kind=deployment.kind,
        git_path=deployment.git_path,
        platform_provider=deployment.platform_provider,
        labels=deployment.labels,
        disabled=True,
    )
