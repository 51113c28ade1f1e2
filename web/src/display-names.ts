// Names and tones shown for the schema's enum values.

import { ChainBlockStatus, ChainFailurePolicy, ChainStatus } from "./schema/model/chain_pb";
import { ApplicationSyncStatus } from "./schema/model/application_pb";
import { type Deployment, DeploymentStatus } from "./schema/model/deployment_pb";
import { EventStatus } from "./schema/model/event_pb";
import { Piped_ConnectionStatus } from "./schema/model/piped_pb";
import { type PipelineStage, StageStatus } from "./schema/model/stage_pb";
import { SyncStrategy } from "./schema/model/strategy_pb";
import { canApprove } from "./stages";

/** The meaning of a status; `components/status` maps each tone to a colour and an icon. */
export type Tone = "good" | "bad" | "busy" | "waiting" | "warning" | "quiet";

export interface StatusDisplay {
  text: string;
  tone: Tone;
}

const SYNC_STATUSES: Record<ApplicationSyncStatus, StatusDisplay> = {
  [ApplicationSyncStatus.UNKNOWN]: { text: "Unknown", tone: "quiet" },
  [ApplicationSyncStatus.SYNCED]: { text: "Synced", tone: "good" },
  [ApplicationSyncStatus.DEPLOYING]: { text: "Deploying", tone: "busy" },
  [ApplicationSyncStatus.OUT_OF_SYNC]: { text: "Out of sync", tone: "warning" },
  [ApplicationSyncStatus.INVALID_CONFIG]: { text: "Invalid configuration", tone: "bad" },
};

const EVENT_STATUSES: Record<EventStatus, StatusDisplay> = {
  [EventStatus.EVENT_NOT_HANDLED]: { text: "Waiting", tone: "waiting" },
  [EventStatus.EVENT_SUCCESS]: { text: "Written", tone: "good" },
  [EventStatus.EVENT_FAILURE]: { text: "Failed", tone: "bad" },
  [EventStatus.EVENT_OUTDATED]: { text: "Outdated", tone: "quiet" },
};

const DEPLOYMENT_STATUSES: Record<DeploymentStatus, StatusDisplay> = {
  [DeploymentStatus.DEPLOYMENT_PENDING]: { text: "Pending", tone: "waiting" },
  [DeploymentStatus.DEPLOYMENT_PLANNED]: { text: "Planned", tone: "waiting" },
  [DeploymentStatus.DEPLOYMENT_RUNNING]: { text: "Running", tone: "busy" },
  [DeploymentStatus.DEPLOYMENT_ROLLING_BACK]: { text: "Rolling back", tone: "warning" },
  [DeploymentStatus.DEPLOYMENT_SUCCESS]: { text: "Succeeded", tone: "good" },
  [DeploymentStatus.DEPLOYMENT_FAILURE]: { text: "Failed", tone: "bad" },
  [DeploymentStatus.DEPLOYMENT_CANCELLED]: { text: "Cancelled", tone: "quiet" },
};

const STAGE_STATUSES: Record<StageStatus, StatusDisplay> = {
  [StageStatus.STAGE_NOT_STARTED_YET]: { text: "Not started", tone: "quiet" },
  [StageStatus.STAGE_RUNNING]: { text: "Running", tone: "busy" },
  [StageStatus.STAGE_SUCCESS]: { text: "Succeeded", tone: "good" },
  [StageStatus.STAGE_FAILURE]: { text: "Failed", tone: "bad" },
  [StageStatus.STAGE_CANCELLED]: { text: "Cancelled", tone: "quiet" },
  [StageStatus.STAGE_SKIPPED]: { text: "Skipped", tone: "quiet" },
  [StageStatus.STAGE_EXITED]: { text: "Ended early", tone: "good" },
};

const CHAIN_STATUSES: Record<ChainStatus, StatusDisplay> = {
  [ChainStatus.DEPLOYMENT_CHAIN_PENDING]: { text: "Pending", tone: "waiting" },
  [ChainStatus.DEPLOYMENT_CHAIN_RUNNING]: { text: "Running", tone: "busy" },
  [ChainStatus.DEPLOYMENT_CHAIN_SUCCESS]: { text: "Succeeded", tone: "good" },
  [ChainStatus.DEPLOYMENT_CHAIN_FAILURE]: { text: "Failed", tone: "bad" },
  [ChainStatus.DEPLOYMENT_CHAIN_CANCELLED]: { text: "Cancelled", tone: "quiet" },
};

const CHAIN_BLOCK_STATUSES: Record<ChainBlockStatus, StatusDisplay> = {
  [ChainBlockStatus.DEPLOYMENT_BLOCK_PENDING]: { text: "Pending", tone: "waiting" },
  [ChainBlockStatus.DEPLOYMENT_BLOCK_RUNNING]: { text: "Running", tone: "busy" },
  [ChainBlockStatus.DEPLOYMENT_BLOCK_SUCCESS]: { text: "Succeeded", tone: "good" },
  [ChainBlockStatus.DEPLOYMENT_BLOCK_FAILURE]: { text: "Failed", tone: "bad" },
  [ChainBlockStatus.DEPLOYMENT_BLOCK_CANCELLED]: { text: "Cancelled", tone: "quiet" },
};

const CONNECTION_STATUSES: Record<Piped_ConnectionStatus, StatusDisplay> = {
  [Piped_ConnectionStatus.UNKNOWN]: { text: "Never connected", tone: "waiting" },
  [Piped_ConnectionStatus.ONLINE]: { text: "Online", tone: "good" },
  [Piped_ConnectionStatus.OFFLINE]: { text: "Offline", tone: "bad" },
};

const STRATEGY_NAMES: Record<SyncStrategy, string> = {
  [SyncStrategy.AUTO]: "Sync",
  [SyncStrategy.QUICK_SYNC]: "Quick sync",
  [SyncStrategy.PIPELINE]: "Pipeline sync",
};

// A newer control plane may send values that this console does not know.
const UNKNOWN: StatusDisplay = { text: "Unknown", tone: "quiet" };

export const syncStatusDisplay = (status: ApplicationSyncStatus): StatusDisplay => SYNC_STATUSES[status] ?? UNKNOWN;
export const WAITING_FOR_APPROVAL: StatusDisplay = { text: "Waiting for approval", tone: "waiting" };

const isWaitingForApproval = (deployment: Deployment): boolean =>
  deployment.status === DeploymentStatus.DEPLOYMENT_RUNNING && deployment.stages.some(canApprove);

/** The deployment's status; "Waiting for approval" instead of "Running" while a stage waits for a person. */
export const deploymentDisplay = (deployment: Deployment): StatusDisplay =>
  isWaitingForApproval(deployment) ? WAITING_FOR_APPROVAL : deploymentStatusDisplay(deployment.status);
/** The stage's status; "Waiting for approval" instead of "Running" while it waits for a person. */
export const stageDisplay = (stage: PipelineStage): StatusDisplay =>
  canApprove(stage) ? WAITING_FOR_APPROVAL : stageStatusDisplay(stage.status);
export const deploymentStatusDisplay = (status: DeploymentStatus): StatusDisplay =>
  DEPLOYMENT_STATUSES[status] ?? UNKNOWN;
const stageStatusDisplay = (status: StageStatus): StatusDisplay => STAGE_STATUSES[status] ?? UNKNOWN;
export const chainStatusDisplay = (status: ChainStatus): StatusDisplay => CHAIN_STATUSES[status] ?? UNKNOWN;
export const chainFailureText = (policy: ChainFailurePolicy): string =>
  policy === ChainFailurePolicy.CHAIN_FAILURE_CANCEL
    ? "Running deployments of its block are cancelled; later blocks do not begin"
    : "Running deployments of its block finish; later blocks do not begin";
export const chainBlockStatusDisplay = (status: ChainBlockStatus): StatusDisplay =>
  CHAIN_BLOCK_STATUSES[status] ?? UNKNOWN;
export const connectionStatusDisplay = (status: Piped_ConnectionStatus): StatusDisplay =>
  CONNECTION_STATUSES[status] ?? UNKNOWN;
export const eventStatusDisplay = (status: EventStatus): StatusDisplay => EVENT_STATUSES[status] ?? UNKNOWN;
export const strategyName = (strategy: SyncStrategy): string => STRATEGY_NAMES[strategy] ?? "Sync";

const FINAL_STATUSES = new Set([
  DeploymentStatus.DEPLOYMENT_SUCCESS,
  DeploymentStatus.DEPLOYMENT_FAILURE,
  DeploymentStatus.DEPLOYMENT_CANCELLED,
]);

export const isDeploymentCompleted = (status: DeploymentStatus): boolean => FINAL_STATUSES.has(status);

export const isStageCompleted = (status: StageStatus): boolean =>
  status !== StageStatus.STAGE_NOT_STARTED_YET && status !== StageStatus.STAGE_RUNNING;
