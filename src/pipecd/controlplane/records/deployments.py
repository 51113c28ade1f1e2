"""What a report makes of a deployment's record: pure changes, checked against the status tables.

Called by `rpc.piped.deployments` inside a compare-and-set. Each function changes the record it is
given or raises `Conflict` naming both states; saying the same twice is no conflict and changes nothing
that was decided.
"""

from collections.abc import Mapping

from pipecd.errors import Conflict, Refused
from pipecd.model.status import DeploymentStatus, StageStatus, may_move, stage_may_move
from pipecd.schema.agent.deployments_pb2 import (
    ReportDeploymentCompletedRequest,
    ReportDeploymentPlannedRequest,
    ReportDeploymentStatusChangedRequest,
    ReportStageStatusChangedRequest,
)
from pipecd.schema.model import deployment_pb2, stage_pb2
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.stage_pb2 import PipelineStage


def plan(record: Deployment, report: ReportDeploymentPlannedRequest, now: int) -> None:
    """The planner's answer: stages, versions and why this strategy."""
    move(record, DeploymentStatus.PLANNED, report.status_reason)
    record.summary = report.summary
    record.running_commit_hash = report.running_commit_hash
    record.running_config_filename = report.running_config_filename
    record.trigger.sync_strategy = report.sync_strategy
    del record.versions[:]
    record.versions.extend(report.versions)
    del record.stages[:]
    record.stages.extend(report.stages)
    record.updated_at = now


def change_status(record: Deployment, report: ReportDeploymentStatusChangedRequest, now: int) -> None:
    move(record, DeploymentStatus(report.status), report.status_reason)
    record.updated_at = now


def complete(record: Deployment, report: ReportDeploymentCompletedRequest, now: int) -> None:
    """The end. Stages that the report lists go along where that is a legal move."""
    status = DeploymentStatus(report.status)
    if not status.final:
        raise Refused(f"a deployment does not end as {status.name}", remedy="SUCCESS, FAILURE or CANCELLED")
    if DeploymentStatus(record.status) is status:
        return
    move(record, status, report.status_reason)
    record.completed_at = report.completed_at
    record.updated_at = now
    for stage in record.stages:
        if stage.id in report.stage_statuses:
            _carry_along(stage, StageStatus(report.stage_statuses[stage.id]), report.completed_at, now)


def change_stage(record: Deployment, report: ReportStageStatusChangedRequest, now: int) -> None:
    """One stage's new status. After the deployment's end nothing moves any more."""
    stage = stage_of(record, report.stage_id)
    old, new = StageStatus(stage.status), StageStatus(report.status)
    if old == new and old.final:
        return
    if not stage_may_move(old, new):
        raise Conflict(f"stage {stage.id} is {old.name} and cannot become {new.name}")
    if DeploymentStatus(record.status).final:
        raise Conflict(
            f"stage {stage.id} cannot become {new.name}: deployment {record.id} is"
            f" {DeploymentStatus(record.status).name}"
        )
    _set_stage(stage, new, report.completed_at, now)
    stage.status_reason = report.status_reason
    stage.visible = report.visible
    stage.retried_count = report.retried_count
    if report.requires:
        del stage.requires[:]
        stage.requires.extend(report.requires)
    record.updated_at = now


def add_stage_metadata(record: Deployment, stage_id: str, metadata: Mapping[str, str], now: int) -> None:
    stage = stage_of(record, stage_id)
    stage.metadata.update(metadata)
    stage.updated_at = record.updated_at = now


def move(record: Deployment, status: DeploymentStatus, reason: str) -> None:
    """Change the status where that is legal."""
    old = DeploymentStatus(record.status)
    if not may_move(old, status):
        raise Conflict(f"deployment {record.id} is {old.name} and cannot become {status.name}")
    record.status = deployment_pb2.DeploymentStatus.ValueType(status)
    record.status_reason = reason


def stage_of(record: Deployment, stage_id: str) -> PipelineStage:
    for stage in record.stages:
        if stage.id == stage_id:
            return stage
    raise Refused(f"deployment {record.id} has no stage {stage_id}")


def _carry_along(stage: PipelineStage, status: StageStatus, completed_at: int, now: int) -> None:
    old = StageStatus(stage.status)
    if old != status and stage_may_move(old, status):
        _set_stage(stage, status, completed_at, now)


def _set_stage(stage: PipelineStage, status: StageStatus, completed_at: int, now: int) -> None:
    stage.status = stage_pb2.StageStatus.ValueType(status)
    stage.updated_at = now
    if status.final:
        stage.completed_at = completed_at
