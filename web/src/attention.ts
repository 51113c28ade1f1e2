// What needs a person: which deployments a user may approve, and which applications failed last.

import type { Application } from "./schema/model/application_pb";
import type { May } from "./rights";
import type { Deployment } from "./schema/model/deployment_pb";
import { WebService } from "./schema/web/service_pb";
import { approvers, canApprove } from "./stages";

/** Whether a stage of the deployment waits for an approval that `user`, who has the rights `may`, may give. */
export function awaitsApprovalOf(deployment: Deployment, user: string, may: May): boolean {
  if (!may(WebService.method.approveStage, deployment)) return false;
  return deployment.stages.some((stage) => {
    const names = approvers(stage);
    return canApprove(stage) && (names.length === 0 || names.includes(user));
  });
}

export const awaitsApproval = (deployment: Deployment): boolean => deployment.stages.some(canApprove);

/** Whether the last deployment of the application ended without success; false while one is in progress. */
export function lastDeploymentFailed(application: Application): boolean {
  const triggered = application.mostRecentlyTriggeredDeployment;
  if (!triggered || application.deploying) return false;
  return triggered.deploymentId !== application.mostRecentlySuccessfulDeployment?.deploymentId;
}
