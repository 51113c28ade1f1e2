// Arranges a page of the deployment list: those that run, those that wait, and the others by day and commit.

import { groupBy } from "./group-by";
import { type Deployment, DeploymentStatus } from "./schema/model/deployment_pb";
import { formatDay } from "./time";

/** Deployments of several applications that one push, or one user, started together. */
export interface CommitGroup {
  hash: string;
  deployments: Deployment[];
}

export interface Section {
  title: string;
  /** In the order of the list; deployments of one push are together. */
  items: (Deployment | CommitGroup)[];
}

const RUNNING: readonly DeploymentStatus[] = [
  DeploymentStatus.DEPLOYMENT_RUNNING,
  DeploymentStatus.DEPLOYMENT_ROLLING_BACK,
];
const QUEUED: readonly DeploymentStatus[] = [DeploymentStatus.DEPLOYMENT_PENDING, DeploymentStatus.DEPLOYMENT_PLANNED];
/** Deployments of one commit are shown as one row if they are of so many applications. */
const MIN_GROUP = 3;

export const isGroup = (item: Deployment | CommitGroup): item is CommitGroup => "deployments" in item;

export function arrange(deployments: readonly Deployment[]): Section[] {
  const running = deployments.filter(({ status }) => RUNNING.includes(status));
  const queued = deployments.filter(({ status }) => QUEUED.includes(status));
  const ended = deployments.filter(({ status }) => !RUNNING.includes(status) && !QUEUED.includes(status));
  const days = groupBy(ended, (deployment) => formatDay(Number(deployment.createdAt)));
  return [
    ...(running.length > 0 ? [{ title: "Running", items: running }] : []),
    ...(queued.length > 0 ? [{ title: "Queued", items: queued }] : []),
    ...[...days].map(([title, ofDay]) => ({ title, items: groupByCommit(ofDay) })),
  ];
}

export const countApplications = (deployments: readonly Deployment[]): number =>
  new Set(deployments.map(({ applicationId }) => applicationId)).size;

/** Deployments of one commit and repository are one item, if they are of several applications. */
export function groupByCommit(deployments: readonly Deployment[]): (Deployment | CommitGroup)[] {
  const groups = groupBy(deployments, commitKey);
  const isFirst = (deployment: Deployment) => groups.get(commitKey(deployment))?.[0] === deployment;
  return deployments.flatMap((deployment): (Deployment | CommitGroup)[] => {
    const group = groups.get(commitKey(deployment)) ?? [];
    if (countApplications(group) < MIN_GROUP) return [deployment];
    return isFirst(deployment) ? [{ hash: deployment.trigger?.commit?.hash ?? "", deployments: group }] : [];
  });
}

/** What a user requested, such as a rollback, is not of the push of its commit. */
const commitKey = ({ id, trigger, gitPath }: Deployment): string =>
  trigger?.commit?.hash ? JSON.stringify([gitPath?.repo?.id, trigger.commit.hash, trigger.commander]) : id;

/** The longest duration in the list, in seconds; at least one. */
export function longestDuration(deployments: readonly Deployment[], now: number): number {
  return Math.max(1, ...deployments.map((deployment) => durationOf(deployment, now)));
}

/** In seconds; until `now` (seconds since 1970) if it has not ended. */
export const durationOf = ({ createdAt, completedAt }: Deployment, now: number): number =>
  Math.max(0, (Number(completedAt) || now) - Number(createdAt));
