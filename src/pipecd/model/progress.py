"""Determines the next step of a deployment. Pure: `piped.deploy.rollout` takes the step and reports it.

There is no separate recovery path. A process that finds an unfinished deployment calls the same function with
the same value and continues.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from pipecd.model.approval import Decision, Verdict, one_line, save_decisions
from pipecd.model.deployment import Deployment, Stage
from pipecd.model.stage import Again, Done, Failed, Outcome
from pipecd.model.status import DeploymentStatus, StageStatus

STARTED_REASON = "The piped has started this deployment"
SUCCESS_REASON = "The deployment was completed successfully"
#: Stage metadata: when the stage first ran (epoch seconds), so that a restart does not extend its timeout.
STAGE_STARTED_AT = "pipecd/started-at"
#: Stage metadata, stored with the plan: the timeout that the stage configures (seconds), so that it is known
#: even while Git is unreachable.
STAGE_TIMEOUT = "pipecd/timeout"
#: Shared metadata of a deployment: when it, and its rollback, started (epoch seconds).
STARTED_AT = "pipecd/started-at"
ROLLBACK_STARTED_AT = "pipecd/rollback-started-at"
#: Shared metadata, stored with the plan: the timeout of the stages, and separately of the rollback (seconds).
TIMEOUT = "pipecd/timeout"
#: Shared metadata, stored before the status becomes ROLLING_BACK: why the deployment rolls back.
#: `ORIGIN_REQUEST` if a user requested the rollback.
ROLLBACK_ORIGIN = "pipecd/rollback-origin"
ORIGIN_REQUEST, ORIGIN_PLAN = "asked", "planned"
#: Stage metadata of a rollback stage that runs only if a user requests a rollback.
ONLY_ON_REQUEST = "pipecd/only-on-request"
#: Stage metadata of a rollback stage that undoes one stage: the id of that stage.
BASE_STAGE = "baseStageID"


class StopKind(Enum):
    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Why the running stages must stop. If `rollback` is None, the plan decides whether to roll back.

    While a deployment rolls back, only TIMED_OUT has an effect, and refers to the rollback's own timeout.
    """

    kind: StopKind
    requested_by: str = ""
    rollback: bool | None = None
    #: The stage at which a user rejected the deployment; empty if it was only cancelled.
    rejected_stage: str = ""
    comment: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Determine the stages and report them."""


@dataclass(frozen=True, kw_only=True)
class Begin:
    """Report the deployment as running."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """Report this stage as running. It has not been called yet."""

    stage: Stage


@dataclass(frozen=True, kw_only=True)
class Run:
    """Call this stage, which is running, and apply its outcome with `apply_outcome`."""

    stage: Stage


@dataclass(frozen=True, kw_only=True)
class Halt:
    """End this stage without another call: it was stopped before or between calls."""

    stage: Stage
    status: StageStatus
    reason: str
    #: Who rejected the deployment at this stage, if one did; see `model.approval`.
    decision: Decision | None = None


@dataclass(frozen=True, kw_only=True)
class RollBack:
    """Store `origin` under ROLLBACK_ORIGIN, then report the deployment as rolling back."""

    reason: str
    origin: str


@dataclass(frozen=True, kw_only=True)
class Finish:
    """Report the deployment as completed."""

    status: DeploymentStatus
    reason: str


Step = Plan | Begin | Start | Run | Halt | RollBack | Finish


def next_step(deployment: Deployment, stop: Stop | None = None) -> Step | None:
    """The next step; None once the deployment is completed."""
    if deployment.status.final:
        return None
    if deployment.status is DeploymentStatus.PENDING:
        return _unplanned_step(stop)
    if deployment.status is DeploymentStatus.ROLLING_BACK:
        return _rollback_step(deployment, stop)
    forward = [stage for stage in deployment.stages if not stage.rollback]
    if any(stage.status is StageStatus.EXITED for stage in forward):
        return Finish(status=DeploymentStatus.SUCCESS, reason=SUCCESS_REASON)
    failed = _first_failed(forward)
    if failed:
        return _step_after_failure(deployment, stop, failed)
    next_stage = next((stage for stage in forward if not stage.status.final), None)
    if next_stage and stop:
        return _stop_step(forward, next_stage, stop)
    if deployment.status is not DeploymentStatus.RUNNING:
        return Begin()
    if next_stage:
        return _start_or_run(next_stage)
    return Finish(status=DeploymentStatus.SUCCESS, reason=SUCCESS_REASON)


def apply_outcome(deployment: Deployment, stage: Stage, outcome: Outcome, now: int) -> Deployment:
    """The deployment after `stage` returned `outcome`; `now` is epoch seconds."""
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


def apply_step(
    deployment: Deployment, step: Begin | Start | Halt | RollBack | Finish, now: int
) -> Deployment:
    """The deployment after `step`; `now` is epoch seconds."""
    match step:
        case Begin():
            shared = {STARTED_AT: str(now), **deployment.shared}
            return replace(deployment, status=DeploymentStatus.RUNNING, reason=STARTED_REASON, shared=shared)
        case Start(stage=stage):
            metadata = {STAGE_STARTED_AT: str(now), **stage.metadata}
            running = replace(stage, status=StageStatus.RUNNING, visible=True, metadata=metadata)
            return deployment.with_stage(running)
        case Halt(stage=stage, status=status, reason=reason, decision=decision):
            made = [replace(decision, at=now)] if decision else []
            metadata = {**stage.metadata, **save_decisions(stage.metadata, made)}
            ended = replace(
                stage, status=status, visible=True, reason=reason, completed_at=now, metadata=metadata
            )
            return deployment.with_stage(ended)
        case RollBack(reason=reason, origin=origin):
            shared = {**deployment.shared, ROLLBACK_ORIGIN: origin, ROLLBACK_STARTED_AT: str(now)}
            return replace(deployment, status=DeploymentStatus.ROLLING_BACK, reason=reason, shared=shared)
        case Finish(status=status, reason=reason):
            return replace(deployment, status=status, reason=reason, completed_at=now)


def _start_or_run(stage: Stage) -> Start | Run:
    return Start(stage=stage) if stage.status is StageStatus.NOT_STARTED else Run(stage=stage)


def _first_failed(stages: Sequence[Stage]) -> Stage | None:
    ends = (StageStatus.FAILURE, StageStatus.CANCELLED)
    return next((stage for stage in stages if stage.status in ends), None)


def _unplanned_step(stop: Stop | None) -> Plan | Finish:
    if stop and stop.kind is StopKind.CANCELLED:
        reason = _with_comment(f"{_cancelled(stop)} before it was planned", stop)
        return Finish(status=DeploymentStatus.CANCELLED, reason=reason)
    return Plan()


def _stop_step(forward: Sequence[Stage], next_stage: Stage, stop: Stop) -> Halt | Finish:
    """Stop a deployment none of whose stages failed: end the running stage first."""
    none_started = all(stage.status is StageStatus.NOT_STARTED for stage in forward)
    if stop.kind is StopKind.TIMED_OUT:
        return Halt(stage=next_stage, status=StageStatus.FAILURE, reason="The deployment timed out")
    if none_started and not stop.rollback:
        reason = _with_comment(f"{_cancelled(stop)} before any stage ran", stop)
        return Finish(status=DeploymentStatus.CANCELLED, reason=reason)
    decision = None
    if stop.rejected_stage == next_stage.id:
        decision = Decision(by=stop.requested_by, verdict=Verdict.REJECTED, comment=stop.comment)
    return Halt(stage=next_stage, status=StageStatus.CANCELLED, reason=_cancelled(stop), decision=decision)


def _cancelled(stop: Stop) -> str:
    verb = "Rejected" if stop.rejected_stage else "Cancelled"
    return f"{verb} by {stop.requested_by}" if stop.requested_by else verb


def _with_comment(text: str, stop: Stop | None) -> str:
    comment = one_line(stop.comment) if stop else ""
    return f"{text}: {comment}" if comment else text


def _step_after_failure(deployment: Deployment, stop: Stop | None, failed: Stage) -> RollBack | Finish:
    """A forward stage failed or was cancelled: roll back if applicable, otherwise end the deployment."""
    reason = _failure_reason(failed, stop)
    requested = stop.rollback if stop else None
    origin = ORIGIN_REQUEST if requested else ORIGIN_PLAN
    if requested is not False and _applicable_rollbacks(deployment, origin):
        return RollBack(reason=reason, origin=origin)
    return Finish(status=_final_status(failed), reason=reason)


def _failure_reason(failed: Stage, stop: Stop | None) -> str:
    if failed.status is StageStatus.CANCELLED:
        return _with_comment(f"{_cancelled(stop) if stop else 'Cancelled'} during stage {failed.name}", stop)
    if stop and stop.kind is StopKind.TIMED_OUT:
        return f"Timed out during stage {failed.name}"
    return f"Stage {failed.name} failed" + (f": {failed.reason}" if failed.reason else "")


def _applicable_rollbacks(deployment: Deployment, origin: str) -> list[Stage]:
    planned = [stage for stage in deployment.stages if stage.rollback]
    if origin != ORIGIN_REQUEST:
        planned = [stage for stage in planned if ONLY_ON_REQUEST not in stage.metadata]
    return [stage for stage in planned if _base_ran(deployment, stage)]


def _base_ran(deployment: Deployment, stage: Stage) -> bool:
    """A rollback of one stage applies only if that stage was started and not skipped."""
    base = stage.metadata.get(BASE_STAGE)
    not_run = (StageStatus.NOT_STARTED, StageStatus.SKIPPED)
    return not any(other.id == base and other.status in not_run for other in deployment.stages)


def _rollback_step(deployment: Deployment, stop: Stop | None) -> Start | Run | Halt | Finish:
    """Every applicable rollback stage runs, even after one of them failed; then the deployment ends."""
    rollbacks = _applicable_rollbacks(deployment, deployment.shared.get(ROLLBACK_ORIGIN, ORIGIN_PLAN))
    next_stage = next((stage for stage in rollbacks if not stage.status.final), None)
    if next_stage and stop and stop.kind is StopKind.TIMED_OUT:
        return Halt(stage=next_stage, status=StageStatus.FAILURE, reason="The rollback timed out")
    if next_stage:
        return _start_or_run(next_stage)
    failed = _first_failed([stage for stage in deployment.stages if not stage.rollback])
    status = _final_status(failed) if failed else DeploymentStatus.FAILURE
    failed_rollback = _first_failed([stage for stage in deployment.stages if stage.rollback])
    reason = deployment.reason
    if failed_rollback:
        reason += f"; the rollback also failed: {failed_rollback.reason or failed_rollback.name}"
    return Finish(status=status, reason=reason)


def _final_status(failed: Stage) -> DeploymentStatus:
    cancelled = failed.status is StageStatus.CANCELLED
    return DeploymentStatus.CANCELLED if cancelled else DeploymentStatus.FAILURE
