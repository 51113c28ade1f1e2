"""What comes next in a deployment. Pure: the loop in `piped.rollout` asks, acts once, reports, asks again.

There is no special path for recovery. A process that finds a half-done deployment asks the same
question about the same value and goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from pipecd.model.deployment import Deployment, Stage
from pipecd.model.stage import Again, Done, Failed, Outcome
from pipecd.model.status import DeploymentStatus, StageStatus

STARTED_REASON = "The agent has started this deployment"
SUCCESS_REASON = "The deployment was completed successfully"
#: Stage metadata: epoch seconds at which the stage first ran, so that a restart does not extend a timeout.
STAGE_STARTED_AT = "pipecd/started-at"
#: Shared metadata of a deployment: epoch seconds at which it, and its rollback, began.
STARTED_AT = "pipecd/started-at"
ROLLBACK_STARTED_AT = "pipecd/rollback-started-at"
#: Shared metadata, stored before the turn to ROLLING_BACK: `ASKED` when a person asked for the rollback.
ROLLBACK_ORIGIN = "pipecd/rollback-origin"
ASKED, PLANNED = "asked", "planned"
#: Stage metadata of a rollback stage that runs only when a person asks for a rollback.
ONLY_ON_REQUEST = "pipecd/only-on-request"
#: Stage metadata of a rollback stage that undoes one stage: the id of that stage.
BASE_STAGE = "baseStageID"


class StopKind(Enum):
    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Why the forward stages must not go on. `rollback` None leaves it to the plan."""

    kind: StopKind
    by: str = ""
    rollback: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Begin:
    """Report the deployment as running."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Call this stage."""

    stage: Stage


@dataclass(frozen=True, kw_only=True)
class Halt:
    """End this stage without calling it again: it was stopped before or between two calls."""

    stage: Stage
    status: StageStatus
    reason: str


@dataclass(frozen=True, kw_only=True)
class RollBack:
    """Store `origin` under ROLLBACK_ORIGIN, then report the deployment as rolling back."""

    reason: str
    origin: str


@dataclass(frozen=True, kw_only=True)
class Finish:
    """Report the deployment as over."""

    status: DeploymentStatus
    reason: str


Step = Begin | Run | Halt | RollBack | Finish


def next_step(deployment: Deployment, stop: Stop | None = None) -> Step | None:
    """The one thing to do now; None once the deployment is over."""
    if deployment.status.final:
        return None
    if deployment.status is DeploymentStatus.ROLLING_BACK:
        return _rollback_step(deployment)
    forward = [stage for stage in deployment.stages if not stage.rollback]
    if any(stage.status is StageStatus.EXITED for stage in forward):
        return Finish(status=DeploymentStatus.SUCCESS, reason=SUCCESS_REASON)
    broken = _first(forward, StageStatus.FAILURE, StageStatus.CANCELLED)
    if broken:
        return _after_stop(deployment, stop, broken)
    if stop:
        return _stop_step(deployment, forward, stop)
    if deployment.status is not DeploymentStatus.RUNNING:
        return Begin()
    waiting = next((stage for stage in forward if not stage.status.final), None)
    return Run(stage=waiting) if waiting else Finish(status=DeploymentStatus.SUCCESS, reason=SUCCESS_REASON)


def after(deployment: Deployment, stage: Stage, outcome: Outcome, now: int) -> Deployment:
    """The deployment once `stage` has answered `outcome`."""
    current = deployment.stage(stage.id)
    current = replace(current, metadata={**current.metadata, **outcome.saved})
    match outcome:
        case Again(note=note):
            changed = replace(
                current, status=StageStatus.RUNNING, visible=True, reason=note or current.reason
            )
        case Done(note=note, status=status):
            changed = replace(current, status=status, visible=True, reason=note, completed_at=now)
        case Failed(reason=reason, remedy=remedy):
            text = f"{reason}; {remedy}" if remedy else reason
            changed = replace(
                current, status=StageStatus.FAILURE, visible=True, reason=text, completed_at=now
            )
    if isinstance(outcome, Failed):
        return deployment.with_stage(changed)
    shared = {**deployment.shared, **outcome.shared}
    return replace(deployment.with_stage(changed), shared=shared)


def _first(stages: Sequence[Stage], *statuses: StageStatus) -> Stage | None:
    return next((stage for stage in stages if stage.status in statuses), None)


def _stop_step(deployment: Deployment, forward: Sequence[Stage], stop: Stop) -> Step:
    """The deployment must stop while its stages are all sound: end the one at work first."""
    stage = next((stage for stage in forward if not stage.status.final), None)
    started = any(stage.status is not StageStatus.NOT_STARTED for stage in forward)
    if stage is None:
        return Finish(status=DeploymentStatus.SUCCESS, reason=SUCCESS_REASON)
    if not started and stop.kind is StopKind.CANCELLED and not stop.rollback:
        return Finish(
            status=DeploymentStatus.CANCELLED, reason=f"Cancelled by {stop.by} before any stage ran"
        )
    if stage is None:
        return Finish(status=DeploymentStatus.SUCCESS, reason=SUCCESS_REASON)
    if stop.kind is StopKind.CANCELLED:
        return Halt(stage=stage, status=StageStatus.CANCELLED, reason=f"Cancelled by {stop.by}")
    return Halt(stage=stage, status=StageStatus.FAILURE, reason="The deployment's timeout has passed")


def _after_stop(deployment: Deployment, stop: Stop | None, broken: Stage) -> Step:
    """A forward stage failed or was cancelled: roll back where that is wanted, else end."""
    status = _final_status(broken)
    reason = _why(broken, stop)
    asked = stop.rollback if stop else None
    origin = ASKED if asked else PLANNED
    if asked is not False and _wanted_rollbacks(deployment, origin):
        return RollBack(reason=reason, origin=origin)
    return Finish(status=status, reason=reason)


def _why(broken: Stage, stop: Stop | None) -> str:
    if broken.status is StageStatus.CANCELLED:
        by = f"{stop.by} " if stop and stop.by else ""
        return f"Cancelled by {by}while executing stage {broken.id}".replace("by while", "while")
    if stop and stop.kind is StopKind.TIMED_OUT:
        return f"Timed out while executing stage {broken.id}"
    return f"Failed while executing stage {broken.id}" + (f": {broken.reason}" if broken.reason else "")


def _wanted_rollbacks(deployment: Deployment, origin: str) -> list[Stage]:
    planned = [stage for stage in deployment.stages if stage.rollback]
    if origin != ASKED:
        planned = [stage for stage in planned if ONLY_ON_REQUEST not in stage.metadata]
    return [stage for stage in planned if _base_ran(deployment, stage)]


def _base_ran(deployment: Deployment, stage: Stage) -> bool:
    """A rollback of one stage makes sense only when that stage was started and not skipped."""
    base = stage.metadata.get(BASE_STAGE)
    if base is None:
        return True
    return deployment.stage(base).status not in (StageStatus.NOT_STARTED, StageStatus.SKIPPED)


def _rollback_step(deployment: Deployment) -> Step:
    """Every wanted rollback stage runs, also after one of them failed; then the deployment ends."""
    wanted = _wanted_rollbacks(deployment, deployment.shared.get(ROLLBACK_ORIGIN, PLANNED))
    waiting = next((stage for stage in wanted if not stage.status.final), None)
    if waiting:
        return Run(stage=waiting)
    forward = [stage for stage in deployment.stages if not stage.rollback]
    broken = _first(forward, StageStatus.FAILURE, StageStatus.CANCELLED)
    status = _final_status(broken) if broken else DeploymentStatus.FAILURE
    failed = _first([s for s in deployment.stages if s.rollback], StageStatus.FAILURE, StageStatus.CANCELLED)
    tail = f"; the rollback failed too: {failed.reason or failed.id}" if failed else ""
    return Finish(status=status, reason=deployment.reason + tail)


def _final_status(broken: Stage) -> DeploymentStatus:
    cancelled = broken.status is StageStatus.CANCELLED
    return DeploymentStatus.CANCELLED if cancelled else DeploymentStatus.FAILURE
