// What a stage says about itself beyond its status, and what people may do to it now.

import type { Deployment } from "./schema/model/deployment_pb";
import { ManualOperation, type PipelineStage, StageStatus } from "./schema/model/stage_pb";

/** Seconds since 1970 at which the stage first ran; 0 when it has not. */
export function startedAt(stage: PipelineStage): number {
  if (stage.status === StageStatus.STAGE_NOT_STARTED_YET) return 0;
  return Number(stage.metadata["pipecd/started-at"] ?? stage.metadata["startTime"] ?? 0);
}

/** When it ended; 0 while it runs. */
export function endedAt(stage: PipelineStage): number {
  return stage.status === StageStatus.STAGE_RUNNING ? 0 : Number(stage.completedAt);
}

/** One line under the stage's name. */
export function stageNote(stage: PipelineStage): string {
  const { metadata } = stage;
  if (metadata["ApprovedBy"] && stage.status !== StageStatus.STAGE_RUNNING) return `Approved by ${metadata["ApprovedBy"]}`;
  if (metadata["SkippedBy"]) return `Skipped by ${metadata["SkippedBy"]}`;
  const shares = ["primary", "canary", "baseline", "promote"]
    .filter((name) => metadata[`${name}-percentage`])
    .map((name) => `${metadata[`${name}-percentage`] ?? ""} % ${name}`);
  return stage.statusReason || shares.join(", ") || metadata["pipecd/stage-display-metadata"] || "";
}

export function mayApprove(stage: PipelineStage): boolean {
  const asks = stage.name === "WAIT_APPROVAL" || stage.availableOperation === ManualOperation.APPROVE;
  return asks && stage.status === StageStatus.STAGE_RUNNING;
}

export function maySkip(stage: PipelineStage): boolean {
  const asks = stage.name === "ANALYSIS" || stage.availableOperation === ManualOperation.SKIP;
  return asks && stage.status === StageStatus.STAGE_RUNNING;
}

/** Who may approve; empty means everybody whose role allows it. */
export function approvers(stage: PipelineStage): string[] {
  if (stage.authorizedOperators.length > 0) return stage.authorizedOperators;
  return (stage.metadata["Approvers"] ?? "")
    .split(",")
    .map((name) => name.trim())
    .filter(Boolean);
}

/** The stage whose log a visitor wants first: what failed, else what runs, else the last that ran. */
export function interesting(deployment: Deployment): string {
  const byIndex = deployment.stages.toSorted((one, other) => one.index - other.index);
  const failed = byIndex.find((stage) => stage.status === StageStatus.STAGE_FAILURE);
  const running = byIndex.find((stage) => stage.status === StageStatus.STAGE_RUNNING);
  const reached = byIndex.findLast((stage) => stage.status !== StageStatus.STAGE_NOT_STARTED_YET);
  return (running ?? failed ?? reached ?? byIndex[0])?.id ?? "";
}
