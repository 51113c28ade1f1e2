// Arranges a page of the deployment list: those that run, those that wait, and the others by day and commit.

import { groupBy } from "./group-by";
import { type Deployment, DeploymentStatus } from "./schema/model/deployment_pb";
import { formatDay } from "./time";

/** Deployments that one push started together. */
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
/** So many deployments of one commit are shown as one row. */
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

/** Deployments of one commit and repository are one item, if there are several of them. */
export function groupByCommit(deployments: readonly Deployment[]): (Deployment | CommitGroup)[] {
  const groups = groupBy(deployments, commitKey);
  const isFirst = (deployment: Deployment) => groups.get(commitKey(deployment))?.[0] === deployment;
  return deployments.flatMap((deployment): (Deployment | CommitGroup)[] => {
    const group = groups.get(commitKey(deployment)) ?? [];
    if (group.length < MIN_GROUP) return [deployment];
    return isFirst(deployment) ? [{ hash: deployment.trigger?.commit?.hash ?? "", deployments: group }] : [];
  });
}

const commitKey = ({ id, trigger, gitPath }: Deployment): string =>
  trigger?.commit?.hash ? `${gitPath?.repo?.id ?? ""}@${trigger.commit.hash}` : id;

/** The longest duration in the list, in seconds; at least one. */
export function longestDuration(deployments: readonly Deployment[], now: number): number {
  return Math.max(1, ...deployments.map((deployment) => durationOf(deployment, now)));
}

/** In seconds; until `now` (seconds since 1970) if it has not ended. */
export const durationOf = ({ createdAt, completedAt }: Deployment, now: number): number =>
  Math.max(0, (Number(completedAt) || now) - Number(createdAt));
