import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { awaitsApprovalOf, lastDeploymentFailed } from "./attention";
import { ApplicationSchema } from "./schema/model/application_pb";
import { DeploymentSchema } from "./schema/model/deployment_pb";
import { WebService } from "./schema/web/service_pb";
import { PipelineStageSchema, StageStatus } from "./schema/model/stage_pb";

const waiting = (approvers: string, status = StageStatus.STAGE_RUNNING) => {
  const metadata: Record<string, string> = approvers ? { Approvers: approvers } : {};
  return create(DeploymentSchema, { stages: [create(PipelineStageSchema, { name: "WAIT_APPROVAL", status, metadata })] });
};

test.each([
  ["of any user", waiting(""), true],
  ["of a list with the user", waiting("bob, ada"), true],
  ["of others", waiting("bob"), false],
  ["that was given", waiting("", StageStatus.STAGE_SUCCESS), false],
])("an approval %s", (_, deployment, expected) => {
  expect(awaitsApprovalOf(deployment, "ada", () => true)).toBe(expected);
});

test("an approval that the roles do not include is not the user's", () => {
  const deployment = waiting("ada");
  expect(awaitsApprovalOf(deployment, "ada", (method, record) => method !== WebService.method.approveStage || record !== deployment)).toBe(false);
});

const application = (triggered: string, succeeded: string, deploying = false) =>
  create(ApplicationSchema, {
    deploying,
    mostRecentlyTriggeredDeployment: { deploymentId: triggered, startedAt: 20n },
    mostRecentlySuccessfulDeployment: succeeded ? { deploymentId: succeeded, startedAt: 10n } : undefined,
  });

test.each([
  ["another one succeeded", application("b", "a"), true],
  ["none ever succeeded", application("b", ""), true],
  ["it succeeded", application("b", "b"), false],
  ["it is in progress", application("b", "a", true), false],
  ["there is none", create(ApplicationSchema), false],
])("the last deployment failed if %s", (_, record, expected) => {
  expect(lastDeploymentFailed(record)).toBe(expected);
});
