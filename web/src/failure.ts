// What a failed or cancelled deployment means, in sentences: which stage failed, and what runs now.

import { type Deployment, DeploymentStatus } from "./schema/model/deployment_pb";
import { type PipelineStage, StageStatus } from "./schema/model/stage_pb";
import { isRollback } from "./stages";
import { isWebUrl } from "./web-url";

export interface Failure {
  title: string;
  /** What failed, why, and what became of it. */
  sentence: string;
  /** The stage that failed or was stopped; undefined if none had started. */
  stage: PipelineStage | undefined;
}

const TITLES: Partial<Record<DeploymentStatus, string>> = {
  [DeploymentStatus.DEPLOYMENT_FAILURE]: "The deployment failed",
  [DeploymentStatus.DEPLOYMENT_ROLLING_BACK]: "The deployment is being rolled back",
  [DeploymentStatus.DEPLOYMENT_CANCELLED]: "The deployment was cancelled",
};

/** Null unless the deployment failed, was cancelled, or is rolling back. */
export function describeFailure(deployment: Deployment): Failure | null {
  const title = TITLES[deployment.status];
  if (!title) return null;
  const stage = failedStage(deployment);
  const sentences = [whatFailed(deployment, stage), whatBecame(deployment)];
  return { title, stage, sentence: sentences.filter(Boolean).join(" ") };
}

export function failedStage(deployment: Deployment): PipelineStage | undefined {
  const stages = deployment.stages.filter((stage) => !isRollback(stage)).toSorted((a, b) => a.index - b.index);
  return (
    stages.find((stage) => stage.status === StageStatus.STAGE_FAILURE) ??
    stages.find((stage) => stage.status === StageStatus.STAGE_CANCELLED)
  );
}

function whatFailed(deployment: Deployment, stage: PipelineStage | undefined): string {
  if (!stage || stage.status !== StageStatus.STAGE_FAILURE) return asSentence(reasonOf(deployment));
  return asSentence(`Stage ${stage.name} failed${stage.statusReason ? `: ${stage.statusReason}` : ""}`);
}

/** The reason as the agent wrote it. PipeCD's agents name a stage by its ID, such as `stage-1`. */
export function reasonOf({ statusReason, stages }: Deployment): string {
  return stages.reduce((text, { id, name }) => (id && id !== name ? text.replaceAll(`stage ${id}`, `stage ${name}`) : text), statusReason);
}

function whatBecame(deployment: Deployment): string {
  const rollback = deployment.stages.filter((stage) => isRollback(stage) && stage.status !== StageStatus.STAGE_NOT_STARTED_YET);
  const before = deployment.runningCommitHash.slice(0, 7);
  if (deployment.status === DeploymentStatus.DEPLOYMENT_ROLLING_BACK) {
    return before ? `It is being rolled back to commit ${before}.` : "It is being rolled back.";
  }
  const failed = rollback.find((stage) => stage.status === StageStatus.STAGE_FAILURE);
  if (failed) {
    const why = failed.statusReason ? `: ${failed.statusReason}` : "";
    return `${asSentence(`The rollback failed too${why}`)} Parts of both versions may be running.`;
  }
  if (rollback.some((stage) => stage.status === StageStatus.STAGE_SUCCESS)) {
    return before ? `It was rolled back to commit ${before}.` : "It was rolled back.";
  }
  return deployment.stages.length > 0 ? "It was not rolled back: what its stages changed stays as it is." : "";
}

const asSentence = (text: string): string => (text && !/[.!?]$/.test(text) ? `${text}.` : text);

/**
 * The address at which the Git host compares two commits, from the address of the second one. Empty if the host is
 * not known to have one: GitHub, GitLab, Gitea and Bitbucket have.
 */
export function compareUrl(commitUrl: string, from: string, to: string): string {
  if (!isWebUrl(commitUrl) || !from || !to || from === to) return "";
  const path = /^(.*)\/(-\/)?commits?\/[0-9a-f]+$/.exec(commitUrl);
  return path ? `${path[1] ?? ""}/${path[2] ?? ""}compare/${from}...${to}` : "";
}

/** The page that compares two deployments of an application. */
export const compareTo = (from: string, to: string): string =>
  `/compare?from=${encodeURIComponent(from)}&to=${encodeURIComponent(to)}`;
