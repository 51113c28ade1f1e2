// Derives from a stage: its start and end, a one-line note, and the stage actions it currently allows.

import type { Deployment } from "./schema/model/deployment_pb";
import { ManualOperation, type PipelineStage, StageStatus } from "./schema/model/stage_pb";

/** When the stage first ran, in seconds since 1970; 0 if it has not started. */
export function startedAt(stage: PipelineStage): number {
  if (stage.status === StageStatus.STAGE_NOT_STARTED_YET) return 0;
  return Number(stage.metadata["pipecd/started-at"] ?? stage.metadata["startTime"] ?? 0);
}

/** When the stage ended, in seconds since 1970; 0 while it is running. */
export function endedAt(stage: PipelineStage): number {
  return stage.status === StageStatus.STAGE_RUNNING ? 0 : Number(stage.completedAt);
}

/** The line shown below the stage's name. */
export function stageNote(stage: PipelineStage): string {
  const { metadata } = stage;
  if (metadata["ApprovedBy"] && stage.status !== StageStatus.STAGE_RUNNING) {
    return `Approved by ${metadata["ApprovedBy"]}`;
  }
  if (metadata["SkippedBy"]) return `Skipped by ${metadata["SkippedBy"]}`;
  const percentages = ["primary", "canary", "baseline", "promote"]
    .filter((name) => metadata[`${name}-percentage`])
    .map((name) => `${metadata[`${name}-percentage`] ?? ""} % ${name}`);
  return stage.statusReason || percentages.join(", ") || metadata["pipecd/stage-display-metadata"] || "";
}

export function canApprove(stage: PipelineStage): boolean {
  const offered = stage.name === "WAIT_APPROVAL" || stage.availableOperation === ManualOperation.APPROVE;
  return offered && stage.status === StageStatus.STAGE_RUNNING;
}

export function canSkip(stage: PipelineStage): boolean {
  const offered = stage.name === "ANALYSIS" || stage.availableOperation === ManualOperation.SKIP;
  return offered && stage.status === StageStatus.STAGE_RUNNING;
}

/** The users who may approve the stage; empty means every user whose role allows it. */
export function approvers(stage: PipelineStage): string[] {
  if (stage.authorizedOperators.length > 0) return stage.authorizedOperators;
  return (stage.metadata["Approvers"] ?? "")
    .split(",")
    .map((name) => name.trim())
    .filter(Boolean);
}

/** The stage to show first: the running one, else the failed one, else the last one that started. */
export function defaultStageId(deployment: Deployment): string {
  const byIndex = deployment.stages.toSorted((a, b) => a.index - b.index);
  const failed = byIndex.find((stage) => stage.status === StageStatus.STAGE_FAILURE);
  const running = byIndex.find((stage) => stage.status === StageStatus.STAGE_RUNNING);
  const lastStarted = byIndex.findLast((stage) => stage.status !== StageStatus.STAGE_NOT_STARTED_YET);
  return (running ?? failed ?? lastStarted ?? byIndex[0])?.id ?? "";
}
