"""The events of a change of a deployment. Called by `rollout` for each reported change."""

from collections.abc import Iterator, Mapping

from pipecd.model.deployment import Deployment
from pipecd.model.notification import (
    DeploymentCancelled,
    DeploymentFailed,
    DeploymentPlanned,
    DeploymentStarted,
    DeploymentSucceeded,
    NotificationEvent,
    RollbackStarted,
    StageCancelled,
    StageEvent,
    StageFailed,
    StageSkipped,
    StageStarted,
    StageSucceeded,
)
from pipecd.model.status import DeploymentStatus, StageStatus

_STAGE_EVENTS: Mapping[StageStatus, type[StageEvent]] = {
    StageStatus.RUNNING: StageStarted,
    StageStatus.SUCCESS: StageSucceeded,
    StageStatus.EXITED: StageSucceeded,
    StageStatus.FAILURE: StageFailed,
    StageStatus.CANCELLED: StageCancelled,
    StageStatus.SKIPPED: StageSkipped,
}


def deployment_events(
    old: Deployment, new: Deployment, *, commander: str, at: int
) -> Iterator[NotificationEvent]:
    """The events of the change from `old` to `new`. `commander` requested to cancel it, or is empty."""
    for old_stage, stage in zip(old.stages, new.stages, strict=False):
        if stage.status is not old_stage.status:
            yield _STAGE_EVENTS[stage.status](at=at, deployment=new, stage=stage)
    if new.status is not old.status and (event := _status_event(new, commander, at)):
        yield event


def _status_event(deployment: Deployment, commander: str, at: int) -> NotificationEvent | None:
    match deployment.status:
        case DeploymentStatus.PENDING:
            return None
        case DeploymentStatus.PLANNED:
            return DeploymentPlanned(at=at, deployment=deployment, summary=deployment.summary)
        case DeploymentStatus.RUNNING:
            return DeploymentStarted(at=at, deployment=deployment)
        case DeploymentStatus.ROLLING_BACK:
            return RollbackStarted(at=at, deployment=deployment, reason=deployment.reason)
        case DeploymentStatus.SUCCESS:
            return DeploymentSucceeded(at=at, deployment=deployment)
        case DeploymentStatus.FAILURE:
            return DeploymentFailed(at=at, deployment=deployment, reason=deployment.reason)
        case DeploymentStatus.CANCELLED:
            return DeploymentCancelled(
                at=at, deployment=deployment, reason=deployment.reason, commander=commander
            )
