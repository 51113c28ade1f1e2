// What the schema's numbers are called in front of people.

import { ApplicationSyncStatus } from "./schema/model/application_pb";
import { DeploymentStatus } from "./schema/model/deployment_pb";
import { ApplicationKind } from "./schema/model/kind_pb";
import { Piped_ConnectionStatus } from "./schema/model/piped_pb";
import { StageStatus } from "./schema/model/stage_pb";
import { SyncStrategy } from "./schema/model/strategy_pb";

/** How a status feels; `parts/status` gives each a colour and an icon of its own. */
export type Tone = "good" | "bad" | "busy" | "waiting" | "warning" | "quiet";

export interface Word {
  text: string;
  tone: Tone;
}

export const KINDS: readonly ApplicationKind[] = [
  ApplicationKind.KUBERNETES,
  ApplicationKind.TERRAFORM,
  ApplicationKind.LAMBDA,
  ApplicationKind.CLOUDRUN,
  ApplicationKind.ECS,
];

const KIND_NAMES: Record<ApplicationKind, string> = {
  [ApplicationKind.KUBERNETES]: "Kubernetes",
  [ApplicationKind.TERRAFORM]: "Terraform",
  [ApplicationKind.LAMBDA]: "Lambda",
  [ApplicationKind.CLOUDRUN]: "Cloud Run",
  [ApplicationKind.ECS]: "ECS",
};

const SYNC_WORDS: Record<ApplicationSyncStatus, Word> = {
  [ApplicationSyncStatus.UNKNOWN]: { text: "Unknown", tone: "quiet" },
  [ApplicationSyncStatus.SYNCED]: { text: "Synced", tone: "good" },
  [ApplicationSyncStatus.DEPLOYING]: { text: "Deploying", tone: "busy" },
  [ApplicationSyncStatus.OUT_OF_SYNC]: { text: "Out of sync", tone: "warning" },
  [ApplicationSyncStatus.INVALID_CONFIG]: { text: "Invalid configuration", tone: "bad" },
};

const DEPLOYMENT_WORDS: Record<DeploymentStatus, Word> = {
  [DeploymentStatus.DEPLOYMENT_PENDING]: { text: "Pending", tone: "waiting" },
  [DeploymentStatus.DEPLOYMENT_PLANNED]: { text: "Planned", tone: "waiting" },
  [DeploymentStatus.DEPLOYMENT_RUNNING]: { text: "Running", tone: "busy" },
  [DeploymentStatus.DEPLOYMENT_ROLLING_BACK]: { text: "Rolling back", tone: "warning" },
  [DeploymentStatus.DEPLOYMENT_SUCCESS]: { text: "Succeeded", tone: "good" },
  [DeploymentStatus.DEPLOYMENT_FAILURE]: { text: "Failed", tone: "bad" },
  [DeploymentStatus.DEPLOYMENT_CANCELLED]: { text: "Cancelled", tone: "quiet" },
};

const STAGE_WORDS: Record<StageStatus, Word> = {
  [StageStatus.STAGE_NOT_STARTED_YET]: { text: "Not started", tone: "quiet" },
  [StageStatus.STAGE_RUNNING]: { text: "Running", tone: "busy" },
  [StageStatus.STAGE_SUCCESS]: { text: "Succeeded", tone: "good" },
  [StageStatus.STAGE_FAILURE]: { text: "Failed", tone: "bad" },
  [StageStatus.STAGE_CANCELLED]: { text: "Cancelled", tone: "quiet" },
  [StageStatus.STAGE_SKIPPED]: { text: "Skipped", tone: "quiet" },
  [StageStatus.STAGE_EXITED]: { text: "Ended early", tone: "good" },
};

const CONNECTION_WORDS: Record<Piped_ConnectionStatus, Word> = {
  [Piped_ConnectionStatus.UNKNOWN]: { text: "Never connected", tone: "waiting" },
  [Piped_ConnectionStatus.ONLINE]: { text: "Online", tone: "good" },
  [Piped_ConnectionStatus.OFFLINE]: { text: "Offline", tone: "bad" },
};

const STRATEGY_NAMES: Record<SyncStrategy, string> = {
  [SyncStrategy.AUTO]: "Sync",
  [SyncStrategy.QUICK_SYNC]: "Quick sync",
  [SyncStrategy.PIPELINE]: "Pipeline sync",
};

// A newer control plane may send numbers that this console does not know.
const UNKNOWN: Word = { text: "Unknown", tone: "quiet" };

export const kindName = (kind: ApplicationKind): string => KIND_NAMES[kind] ?? `Kind ${kind}`;
export const syncWord = (status: ApplicationSyncStatus): Word => SYNC_WORDS[status] ?? UNKNOWN;
export const deploymentWord = (status: DeploymentStatus): Word => DEPLOYMENT_WORDS[status] ?? UNKNOWN;
export const stageWord = (status: StageStatus): Word => STAGE_WORDS[status] ?? UNKNOWN;
export const connectionWord = (status: Piped_ConnectionStatus): Word => CONNECTION_WORDS[status] ?? UNKNOWN;
export const strategyName = (strategy: SyncStrategy): string => STRATEGY_NAMES[strategy] ?? "Sync";

const FINAL = new Set([
  DeploymentStatus.DEPLOYMENT_SUCCESS,
  DeploymentStatus.DEPLOYMENT_FAILURE,
  DeploymentStatus.DEPLOYMENT_CANCELLED,
]);

export const isOver = (status: DeploymentStatus): boolean => FINAL.has(status);

export const isAtRest = (status: StageStatus): boolean =>
  status !== StageStatus.STAGE_NOT_STARTED_YET && status !== StageStatus.STAGE_RUNNING;
