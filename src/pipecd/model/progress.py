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
#: Shared metadata, stored with the plan: how many seconds the stages may take, and the rollback again.
TIMEOUT = "pipecd/timeout"
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
    """Why the stages at work must not go on. `rollback` None leaves it to the plan.

    Once a deployment rolls back, only TIMED_OUT counts, and means the rollback's own time.
    """

    kind: StopKind
    by: str = ""
    rollback: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Decide on the stages, and report them."""


@dataclass(frozen=True, kw_only=True)
class Begin:
    """Report the deployment as running."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """Report this stage as running. It has not been called yet."""

    stage: Stage


@dataclass(frozen=True, kw_only=True)
class Run:
    """Call this stage, which is running, and fold its outcome with `after`."""

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


Step = Plan | Begin | Start | Run | Halt | RollBack | Finish


def next_step(deployment: Deployment, stop: Stop | None = None) -> Step | None:
    """The one thing to do now; None once the deployment is over."""
    if deployment.status.final:
        return None
    if deployment.status is DeploymentStatus.PENDING:
        return _unplanned_step(stop)
    if deployment.status is DeploymentStatus.ROLLING_BACK:
        return _rollback_step(deployment, stop)
    forward = [stage for stage in deployment.stages if not stage.rollback]
    if any(stage.status is StageStatus.EXITED for stage in forward):
        return Finish(status=DeploymentStatus.SUCCESS, reason=SUCCESS_REASON)
    broken = _broken(forward)
    if broken:
        return _after_break(deployment, stop, broken)
    waiting = next((stage for stage in forward if not stage.status.final), None)
    if waiting and stop:
        return _stop_step(forward, waiting, stop)
    if deployment.status is not DeploymentStatus.RUNNING:
        return Begin()
    return _call(waiting) if waiting else Finish(status=DeploymentStatus.SUCCESS, reason=SUCCESS_REASON)


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


def advance(deployment: Deployment, step: Begin | Start | Halt | RollBack | Finish, now: int) -> Deployment:
    """The deployment once `step` is done; `now` is epoch seconds."""
    match step:
        case Begin():
            shared = {STARTED_AT: str(now), **deployment.shared}
            return replace(deployment, status=DeploymentStatus.RUNNING, reason=STARTED_REASON, shared=shared)
        case Start(stage=stage):
            metadata = {STAGE_STARTED_AT: str(now), **stage.metadata}
            running = replace(stage, status=StageStatus.RUNNING, visible=True, metadata=metadata)
            return deployment.with_stage(running)
        case Halt(stage=stage, status=status, reason=reason):
            ended = replace(stage, status=status, visible=True, reason=reason, completed_at=now)
            return deployment.with_stage(ended)
        case RollBack(reason=reason, origin=origin):
            shared = {**deployment.shared, ROLLBACK_ORIGIN: origin, ROLLBACK_STARTED_AT: str(now)}
            return replace(deployment, status=DeploymentStatus.ROLLING_BACK, reason=reason, shared=shared)
        case Finish(status=status, reason=reason):
            return replace(deployment, status=status, reason=reason, completed_at=now)


def _call(stage: Stage) -> Start | Run:
    return Start(stage=stage) if stage.status is StageStatus.NOT_STARTED else Run(stage=stage)


def _broken(stages: Sequence[Stage]) -> Stage | None:
    ends = (StageStatus.FAILURE, StageStatus.CANCELLED)
    return next((stage for stage in stages if stage.status in ends), None)


def _unplanned_step(stop: Stop | None) -> Plan | Finish:
    if stop and stop.kind is StopKind.CANCELLED:
        return Finish(status=DeploymentStatus.CANCELLED, reason=f"{_cancelled(stop)} before it was planned")
    return Plan()


def _stop_step(forward: Sequence[Stage], waiting: Stage, stop: Stop) -> Halt | Finish:
    """The deployment must stop while its stages are all sound: end the one at work first."""
    untouched = all(stage.status is StageStatus.NOT_STARTED for stage in forward)
    if stop.kind is StopKind.TIMED_OUT:
        return Halt(stage=waiting, status=StageStatus.FAILURE, reason="The deployment's time was up")
    if untouched and not stop.rollback:
        return Finish(status=DeploymentStatus.CANCELLED, reason=f"{_cancelled(stop)} before any stage ran")
    return Halt(stage=waiting, status=StageStatus.CANCELLED, reason=_cancelled(stop))


def _cancelled(stop: Stop) -> str:
    return f"Cancelled by {stop.by}" if stop.by else "Cancelled"


def _after_break(deployment: Deployment, stop: Stop | None, broken: Stage) -> RollBack | Finish:
    """A forward stage failed or was cancelled: roll back where that is wanted, else end."""
    reason = _why(broken, stop)
    asked = stop.rollback if stop else None
    origin = ASKED if asked else PLANNED
    if asked is not False and _wanted_rollbacks(deployment, origin):
        return RollBack(reason=reason, origin=origin)
    return Finish(status=_final_status(broken), reason=reason)


def _why(broken: Stage, stop: Stop | None) -> str:
    if broken.status is StageStatus.CANCELLED:
        return f"{_cancelled(stop) if stop else 'Cancelled'} while executing stage {broken.id}"
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
    unused = (StageStatus.NOT_STARTED, StageStatus.SKIPPED)
    return not any(other.id == base and other.status in unused for other in deployment.stages)


def _rollback_step(deployment: Deployment, stop: Stop | None) -> Start | Run | Halt | Finish:
    """Every wanted rollback stage runs, also after one of them failed; then the deployment ends."""
    wanted = _wanted_rollbacks(deployment, deployment.shared.get(ROLLBACK_ORIGIN, PLANNED))
    waiting = next((stage for stage in wanted if not stage.status.final), None)
    if waiting and stop and stop.kind is StopKind.TIMED_OUT:
        return Halt(stage=waiting, status=StageStatus.FAILURE, reason="The rollback's time was up")
    if waiting:
        return _call(waiting)
    broken = _broken([stage for stage in deployment.stages if not stage.rollback])
    status = _final_status(broken) if broken else DeploymentStatus.FAILURE
    failed = _broken([stage for stage in deployment.stages if stage.rollback])
    tail = f"; the rollback failed too: {failed.reason or failed.id}" if failed else ""
    return Finish(status=status, reason=deployment.reason + tail)


def _final_status(broken: Stage) -> DeploymentStatus:
    cancelled = broken.status is StageStatus.CANCELLED
    return DeploymentStatus.CANCELLED if cancelled else DeploymentStatus.FAILURE
