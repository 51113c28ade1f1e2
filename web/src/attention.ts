// What needs a person: which deployments a user may approve, and which failures are an application's latest.

import { groupBy } from "./group-by";
import type { Application } from "./schema/model/application_pb";
import type { Deployment } from "./schema/model/deployment_pb";
import { approvers, canApprove } from "./stages";

/** Whether a stage of the deployment waits for an approval that `user` may give. Roles are checked by the server. */
export function awaitsApprovalOf(deployment: Deployment, user: string): boolean {
  return deployment.stages.some((stage) => {
    const names = approvers(stage);
    return canApprove(stage) && (names.length === 0 || names.includes(user));
  });
}

export const awaitsApproval = (deployment: Deployment): boolean => deployment.stages.some(canApprove);

/** The newest of each application's deployments. */
export function newestPerApplication(deployments: readonly Deployment[]): Deployment[] {
  return [...groupBy(deployments, (deployment) => deployment.applicationId).values()].map((ofApplication) =>
    ofApplication.reduce((newest, other) => (other.createdAt > newest.createdAt ? other : newest)),
  );
}

/** Whether `deployment` is the application's last one, so that its failure still matters. */
export function isLastDeployment(deployment: Deployment, application: Application | null | undefined): boolean {
  if (!application || application.deleted) return false;
  const triggered = application.mostRecentlyTriggeredDeployment;
  const succeeded = application.mostRecentlySuccessfulDeployment;
  if (succeeded && succeeded.startedAt > deployment.createdAt) return false;
  return !triggered || triggered.deploymentId === deployment.id || triggered.startedAt <= deployment.createdAt;
}

/** Whether the last deployment of the application ended without success; false while one is in progress. */
export function lastDeploymentFailed(application: Application): boolean {
  const triggered = application.mostRecentlyTriggeredDeployment;
  if (!triggered || application.deploying) return false;
  return triggered.deploymentId !== application.mostRecentlySuccessfulDeployment?.deploymentId;
}
