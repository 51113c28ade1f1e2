"""Applies an agent's reports to a deployment's record: pure functions, checked against the status tables.

Called by `rpc.piped.deployments` inside a compare-and-set. Each function modifies the given record or raises
`Conflict` naming both statuses. Repeated reports are idempotent: they raise no error and do not change a
final status.
"""

from pipecd.errors import Conflict, Refused
from pipecd.model.status import DeploymentStatus, StageStatus, may_move, stage_may_move
from pipecd.schema.agent.deployments_pb2 import (
    ReportDeploymentCompletedRequest,
    ReportDeploymentPlannedRequest,
    ReportDeploymentStatusChangedRequest,
    ReportStageStatusChangedRequest,
    SaveDeploymentMetadataRequest,
    SaveDeploymentPluginMetadataRequest,
    SaveDeploymentSharedMetadataRequest,
    SaveStageMetadataRequest,
)
from pipecd.schema.model import deployment_pb2, stage_pb2
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.stage_pb2 import PipelineStage


def plan(record: Deployment, report: ReportDeploymentPlannedRequest, now: int) -> None:
    """Store the result of planning: stages, versions and the reason for the strategy."""
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
    """Set the final status. Stages listed in the report change too, where the transition is allowed."""
    status = DeploymentStatus(report.status)
    if not status.final:
        raise Refused(
            f"{status.name} is not a final status of a deployment", remedy="use SUCCESS, FAILURE or CANCELLED"
        )
    if DeploymentStatus(record.status) is status:
        return
    move(record, status, report.status_reason)
    record.completed_at = report.completed_at
    record.updated_at = now
    for stage in record.stages:
        if stage.id in report.stage_statuses:
            _set_stage_if_allowed(
                stage, StageStatus(report.stage_statuses[stage.id]), report.completed_at, now
            )


def change_stage(record: Deployment, report: ReportStageStatusChangedRequest, now: int) -> None:
    """Set one stage's status. Raises Conflict if the transition is not allowed or the deployment ended."""
    stage = find_stage(record, report.stage_id)
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


def add_metadata(record: Deployment, report: SaveDeploymentMetadataRequest, now: int) -> None:
    record.metadata.update(report.metadata)
    record.updated_at = now


def add_shared_metadata(record: Deployment, report: SaveDeploymentSharedMetadataRequest, now: int) -> None:
    record.metadata_v2.shared.keyValues.update(report.metadata)
    record.updated_at = now


def add_plugin_metadata(record: Deployment, report: SaveDeploymentPluginMetadataRequest, now: int) -> None:
    record.metadata_v2.plugins[report.plugin_name].keyValues.update(report.metadata)
    record.updated_at = now


def add_stage_metadata(record: Deployment, report: SaveStageMetadataRequest, now: int) -> None:
    stage = find_stage(record, report.stage_id)
    stage.metadata.update(report.metadata)
    stage.updated_at = record.updated_at = now


def move(record: Deployment, status: DeploymentStatus, reason: str) -> None:
    """Set the status. Raises Conflict if the transition is not allowed."""
    old = DeploymentStatus(record.status)
    if not may_move(old, status):
        raise Conflict(f"deployment {record.id} is {old.name} and cannot become {status.name}")
    record.status = deployment_pb2.DeploymentStatus.ValueType(status)
    record.status_reason = reason


def find_stage(record: Deployment, stage_id: str) -> PipelineStage:
    for stage in record.stages:
        if stage.id == stage_id:
            return stage
    raise Refused(f"deployment {record.id} has no stage {stage_id}")


def _set_stage_if_allowed(stage: PipelineStage, status: StageStatus, completed_at: int, now: int) -> None:
    old = StageStatus(stage.status)
    if old != status and stage_may_move(old, status):
        _set_stage(stage, status, completed_at, now)


def _set_stage(stage: PipelineStage, status: StageStatus, completed_at: int, now: int) -> None:
    stage.status = stage_pb2.StageStatus.ValueType(status)
    stage.updated_at = now
    if status.final:
        stage.completed_at = completed_at
