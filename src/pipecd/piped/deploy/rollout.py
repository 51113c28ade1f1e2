"""Brings one deployment to its end: ask `model.progress` what comes next, do that once, report, ask again.

Called by `workers`. Killed or shut down anywhere, it reports nothing, and the next process goes on from
what was reported last.
"""

import asyncio
import random
import time
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field

import structlog

from pipecd.errors import Conflict, NotFound, PermissionDenied, Refused, Temporary
from pipecd.model.application import Application
from pipecd.model.deployment import Deployment, Stage
from pipecd.model.progress import (
    ROLLBACK_STARTED_AT,
    STARTED_AT,
    TIMEOUT,
    Finish,
    Plan,
    Run,
    Stop,
    StopKind,
    advance,
    after,
    next_step,
)
from pipecd.model.stage import Again, Order, Outcome
from pipecd.model.status import DeploymentStatus, SyncStatus
from pipecd.piped.deploy.perform import Performance, Postponed, Stageworks
from pipecd.piped.deploy.planner import Planner
from pipecd.piped.loop import Wake
from pipecd.piped.metrics import show_status
from pipecd.piped.notify.log import log_notification
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.report import Reports
from pipecd.piped.session.view import View
from pipecd.retry import Retry

log = structlog.get_logger()

DEFAULT_TIMEOUT = 6 * 3600
#: How soon to look again after the control plane said no, or Git was away while planning.
LATER = Retry(base=0.5, cap=30.0, tries=1_000_000)
#: How often a deployment that waits for its chain asks whether its turn has come (seconds).
CHAIN_TURN = 3.0


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What every rollout works with."""

    view: View
    leadership: Leadership
    reports: Reports
    planner: Planner
    works: Stageworks
    #: Deployments of which a stage is being called, or has ended and is not noted yet.
    at_work: set[str] = field(default_factory=set)

    @contextmanager
    def busy_with(self, deployment_id: str) -> Iterator[None]:
        self.at_work.add(deployment_id)
        try:
            yield
        finally:
            self.at_work.discard(deployment_id)


class Rollout:
    def __init__(self, deployment: Deployment, desk: Desk) -> None:
        self.deployment = deployment
        self._desk = desk
        self._wake = Wake()
        self._held = AsyncExitStack()
        self._performance: tuple[str, Performance] | None = None
        self._delays = _later()

    async def bring_to_end(self) -> None:
        """Return when the deployment is over, or is not ours any more."""
        for stage in self.deployment.stages:
            # A kill may have come between a stage's end and the end of its log.
            if stage.status.final:
                self._desk.works.logs.complete(self.deployment.id, stage.id)
        with self._desk.view.commands_feed.heard_by(self._wake):
            try:
                while await self._step_or_reread():
                    pass
            finally:
                await self._close_performance()

    async def _step_or_reread(self) -> bool:
        """Whether there may be more to do."""
        try:
            more = await self._one_step()
        except Conflict as error:
            await self._reread(error)
            return True
        except Refused as error:
            return await self._give_up(error)
        except (NotFound, PermissionDenied) as error:
            log.error("deployment is not ours any more", deployment=self.deployment.id, why=str(error))
            return False
        self._delays = _later()
        return more

    async def _one_step(self) -> bool:
        await self._desk.leadership.may_begin()
        match next_step(self.deployment, self._stop()):
            case None:
                return False
            case Plan():
                await self._plan()
            case Run(stage=stage):
                await self._call(stage)
            case step:
                await self._record(advance(self.deployment, step, _now()))
        return True

    async def _plan(self) -> None:
        deployment = self.deployment
        try:
            await self._desk.reports.deploying(deployment.application_id, deploying=True)
            planned = await self._desk.planner.plan(deployment, self._application())
        except Temporary as error:
            log.warning("planning waits", deployment=deployment.id, why=str(error))
            await self._wake.wait(next(self._delays))
            return
        match planned:
            case None:
                await self._wake.wait(CHAIN_TURN)
            case Finish() as end:
                await self._record(advance(deployment, end, _now()))
            case _:
                await self._record(planned)

    async def _call(self, stage: Stage) -> None:
        performance = await self._opened(stage)
        orders = self._desk.view.orders(self.deployment.id, stage.id)
        with self._desk.busy_with(self.deployment.id):
            outcome = await self._unless_stopped(stage, performance(self.deployment, orders))
            if outcome is None:
                performance.log.error(self._stop_words())
                return
            await self._record(after(self.deployment, stage, outcome, _now()))
        for order in () if isinstance(outcome, Postponed) else orders:
            await self._desk.reports.handled(order.id)
            self._desk.view.finished(order.id)
        if isinstance(outcome, Again):
            await self._pause(stage, outcome.after, orders)

    async def _record(self, following: Deployment) -> None:
        """Report what changed. From here on it is the truth, also for the next process."""
        ended = [
            now.id
            for old, now in zip(self.deployment.stages, following.stages, strict=False)
            if now.status.final and not old.status.final
        ]
        for stage_id in ended:
            await self._desk.works.logs.store(following.id, stage_id)
        await self._desk.reports.record(self.deployment, following)
        for stage_id in ended:
            await self._close_performance()
            self._desk.works.logs.complete(following.id, stage_id)
        changed = following.status is not self.deployment.status
        self.deployment = following
        if changed:
            show_status(following)
            log_notification(f"DEPLOYMENT_{_EVENTS[following.status]}", _fields(following))
        if changed and following.status is DeploymentStatus.RUNNING:
            await self._show_deploying(following)
        if following.status.final:
            await self._afterwards(following)

    async def _show_deploying(self, deployment: Deployment) -> None:
        if deployment.application_id in self._desk.view.applications:
            await self._desk.reports.sync_state(
                deployment.application_id,
                SyncStatus.DEPLOYING,
                short="A deployment is under way",
                head=deployment.id,
            )

    async def _afterwards(self, deployment: Deployment) -> None:
        """What follows from the end: how Git and the platform compare, and the answer to who cancelled."""
        reports, view = self._desk.reports, self._desk.view
        if deployment.status is DeploymentStatus.SUCCESS:
            status, words = SyncStatus.SYNCED, "The last deployment succeeded"
        else:
            status, words = SyncStatus.OUT_OF_SYNC, "The last deployment did not succeed"
        if deployment.application_id in view.applications:
            await reports.sync_state(
                deployment.application_id,
                status,
                short=words,
                reason=f"{words}: {deployment.reason}",
                head=deployment.id,
            )
        cancel = view.cancel_of(deployment.id)
        if cancel is None:
            return
        if deployment.status is DeploymentStatus.CANCELLED:
            await reports.handled(cancel.id)
        else:
            await reports.refused(cancel.id, f"the deployment ended by itself: {deployment.reason}")
        view.finished(cancel.id)

    async def _unless_stopped(self, stage: Stage, call: Coroutine[None, None, Outcome]) -> Outcome | None:
        """The call's outcome; None when the deployment was stopped first and the call with it."""
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(call, name=f"stage {stage.id}")
            guard = tasks.create_task(self._cancel_when_stopped(running))
            running.add_done_callback(lambda _: guard.cancel())
        return None if running.cancelled() else running.result()

    async def _cancel_when_stopped(self, running: asyncio.Task[Outcome]) -> None:
        while not self._stop():
            await self._wake.wait(self._time_left())
        running.cancel()

    async def _pause(self, stage: Stage, seconds: float, seen: tuple[Order, ...]) -> None:
        """Until the stage wants to be called again, or somebody wants something of it."""
        until = time.monotonic() + seconds
        known = {order.id for order in seen}
        while (left := until - time.monotonic()) > 0:
            orders = self._desk.view.orders(self.deployment.id, stage.id)
            if self._stop() or any(order.id not in known for order in orders):
                return
            await self._wake.wait(min(left, self._time_left()))

    def _stop(self) -> Stop | None:
        """Why the stages at work must not go on, if so."""
        deployment = self.deployment
        cancel = self._desk.view.cancel_of(deployment.id)
        if cancel and deployment.status is not DeploymentStatus.ROLLING_BACK:
            return Stop(kind=StopKind.CANCELLED, by=cancel.commander, rollback=cancel.rollback)
        return Stop(kind=StopKind.TIMED_OUT) if self._time_left() <= 0 else None

    def _stop_words(self) -> str:
        stop = self._stop()
        if stop and stop.kind is StopKind.CANCELLED:
            return f"Cancelled by {stop.by}"
        return "Stopped: the time for the deployment is up"

    def _time_left(self) -> float:
        """Seconds until the stages, or the rollback, must have ended."""
        shared = self.deployment.shared
        rolling_back = self.deployment.status is DeploymentStatus.ROLLING_BACK
        since = shared.get(ROLLBACK_STARTED_AT if rolling_back else STARTED_AT)
        limit = float(shared.get(TIMEOUT, DEFAULT_TIMEOUT))
        return limit if since is None else float(since) + limit - time.time()

    def _application(self) -> Application:
        """The application as it is now; one that is gone is rolled back as it was."""
        known = self._desk.view.applications.get(self.deployment.application_id)
        return known or _gone(self.deployment)

    async def _opened(self, stage: Stage) -> Performance:
        if self._performance and self._performance[0] == stage.id:
            return self._performance[1]
        await self._close_performance()
        opening = self._desk.works.opened(self._application(), self.deployment, stage)
        performance = await self._held.enter_async_context(opening)
        self._performance = (stage.id, performance)
        return performance

    async def _close_performance(self) -> None:
        self._performance = None
        await self._held.aclose()
        self._held = AsyncExitStack()

    async def _reread(self, error: Conflict) -> None:
        """The record is not what we took it for: somebody else moved it, or the lease is gone."""
        log.warning("report refused", deployment=self.deployment.id, why=str(error))
        await self._close_performance()
        await self._wake.wait(next(self._delays))
        await self._desk.leadership.may_begin()
        self.deployment = await self._desk.reports.deployment(self.deployment.id)

    async def _give_up(self, error: Refused) -> bool:
        """A report that no repetition will make acceptable. End the deployment rather than hang."""
        log.error("report is malformed", deployment=self.deployment.id, why=str(error))
        end = Finish(status=DeploymentStatus.FAILURE, reason=f"The control plane refused a report: {error}")
        try:
            await self._record(advance(self.deployment, end, _now()))
        except (Refused, Conflict, NotFound, PermissionDenied) as again:
            log.error("deployment is left as it is", deployment=self.deployment.id, why=str(again))
        return False


_EVENTS = {
    DeploymentStatus.PENDING: "TRIGGERED",
    DeploymentStatus.PLANNED: "PLANNED",
    DeploymentStatus.RUNNING: "STARTED",
    DeploymentStatus.ROLLING_BACK: "ROLLING_BACK",
    DeploymentStatus.SUCCESS: "SUCCEEDED",
    DeploymentStatus.FAILURE: "FAILED",
    DeploymentStatus.CANCELLED: "CANCELLED",
}


def _fields(deployment: Deployment) -> dict[str, str]:
    return {
        "application": deployment.application_name,
        "deployment": deployment.id,
        "commit": deployment.trigger.commit.hash,
        "reason": deployment.reason,
    }


def _gone(deployment: Deployment) -> Application:
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


def _later() -> Iterator[float]:
    return LATER.delays(random.Random())


def _now() -> int:
    return int(time.time())
