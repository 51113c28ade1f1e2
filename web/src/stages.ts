// Derives from a stage: its start and end, a one-line note, and the stage actions it currently allows.

import type { Deployment } from "./schema/model/deployment_pb";
import { ManualOperation, type PipelineStage, StageStatus } from "./schema/model/stage_pb";

const ROLLBACK_NAMES = ["ROLLBACK", "SCRIPT_RUN_ROLLBACK", "CUSTOM_SYNC_ROLLBACK"];

/** Whether it is a rollback stage, which PipeCD's agents without plugins say only by its name. */
export const isRollback = ({ rollback, name }: Pick<PipelineStage, "rollback" | "name">): boolean =>
  rollback || ROLLBACK_NAMES.includes(name);

/** The stages that are shown, in order. Rollback stages come last, and only if they have started. */
export function shownStages(stages: readonly PipelineStage[]): PipelineStage[] {
  return stages
    .filter((stage) => !isRollback(stage) || stage.status !== StageStatus.STAGE_NOT_STARTED_YET)
    .toSorted((a, b) => Number(isRollback(a)) - Number(isRollback(b)) || a.index - b.index);
}

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
  if (decisions(stage).length > 0 && stage.status !== StageStatus.STAGE_RUNNING) return "";
  if (metadata["ApprovedBy"] && stage.status !== StageStatus.STAGE_RUNNING) {
    return `Approved by ${metadata["ApprovedBy"]}`;
  }
  if (metadata["SkippedBy"]) return `Skipped by ${metadata["SkippedBy"]}`;
  const percentages = ["primary", "canary", "baseline", "promote"]
    .filter((name) => metadata[`${name}-percentage`])
    .map((name) => `${metadata[`${name}-percentage`] ?? ""} % ${name}`);
  return stage.statusReason || percentages.join(", ") || metadata["pipecd/stage-display-metadata"] || "";
}

/** What a user decided about a stage that waited for approval. */
export interface Decision {
  by: string;
  verdict: "approved" | "rejected";
  comment: string;
  /** Seconds since 1970. */
  at: number;
}

/** The decisions that our agents store; PipeCD's agents store only names. */
export function decisions(stage: PipelineStage): Decision[] {
  try {
    const records: unknown = JSON.parse(stage.metadata["pipecd/decisions"] ?? "[]");
    if (!Array.isArray(records)) return [];
    const text = (value: unknown): string => (typeof value === "string" ? value : "");
    return records.map((record: Partial<Record<keyof Decision, unknown>> | null) => ({
      by: text(record?.by),
      verdict: record?.verdict === "rejected" ? "rejected" : "approved",
      comment: text(record?.comment),
      at: Number(record?.at) || 0,
    }));
  } catch {
    return [];
  }
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

/** Stage metadata in which the Terraform platform counts the changes of a plan. */
const PLAN_COUNTS = "pipecd/terraform-changes";

/** The stage whose plan an approval decides about: the last finished one before it that made a plan. */
export function planStageBefore(stages: readonly PipelineStage[], approval: PipelineStage): PipelineStage | undefined {
  return stages
    .filter((stage) => stage.index < approval.index && stage.status === StageStatus.STAGE_SUCCESS)
    .toSorted((a, b) => a.index - b.index)
    .findLast((stage) => stage.name === "TERRAFORM_PLAN" || PLAN_COUNTS in stage.metadata);
}

/** A variant of the application during a deployment. */
export interface VariantFigure {
  /** `primary`, `canary`, `baseline`; or `promote` for a version that receives traffic, and `previous` for the ones before. */
  name: string;
  /** Percentage of the traffic; `hasShare` is false if no stage moves traffic. */
  share: number;
  hasShare: boolean;
  /** Null if no stage reports them. */
  replicas: number | null;
  ready: number | null;
}

const VARIANTS = ["primary", "canary", "baseline", "promote"];
const OPTIONAL_VARIANTS = ["canary", "baseline"];

/** The latest figures that the started stages reported, by variant. */
export function variantFigures(stages: readonly PipelineStage[]): VariantFigure[] {
  const started = stages
    .filter((stage) => stage.status !== StageStatus.STAGE_NOT_STARTED_YET)
    .toSorted((a, b) => startedAt(a) - startedAt(b) || a.index - b.index);
  const latest = (key: string): number | null => {
    const text = started.findLast((stage) => key in stage.metadata)?.metadata[key];
    const value = Number(text);
    return text && Number.isFinite(value) ? value : null;
  };
  // Each stage that moves traffic reports all variants, also those that the pipeline does not use.
  const hadTraffic = (name: string): boolean =>
    !OPTIONAL_VARIANTS.includes(name) || started.some(({ metadata }) => Number(metadata[`${name}-percentage`]) > 0);
  const figures = VARIANTS.map((name): VariantFigure => {
    const share = latest(`${name}-percentage`);
    return {
      name,
      share: Math.min(100, Math.max(0, share ?? 0)),
      hasShare: share !== null,
      replicas: latest(`${name}-replicas`),
      ready: latest(`${name}-ready-replicas`),
    };
  }).filter(({ name, hasShare, replicas }) => replicas !== null || (hasShare && hadTraffic(name)));
  const [only] = figures;
  if (figures.length !== 1 || only?.name !== "promote" || !only.hasShare) return figures;
  // Only its own share is reported; the versions before have the rest.
  return [{ ...only, name: "previous", share: 100 - only.share, replicas: null, ready: null }, only];
}

/** How many of the pipeline's own stages have ended. */
export function stageProgress(stages: readonly PipelineStage[]): { ended: number; total: number } {
  const own = stages.filter((stage) => !isRollback(stage));
  const open: StageStatus[] = [StageStatus.STAGE_NOT_STARTED_YET, StageStatus.STAGE_RUNNING];
  return { ended: own.filter((stage) => !open.includes(stage.status)).length, total: own.length };
}
