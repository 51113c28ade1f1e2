import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { compareUrl, describeFailure, reasonOf } from "./failure";
import { type Deployment, DeploymentSchema, DeploymentStatus as D } from "./schema/model/deployment_pb";
import { PipelineStageSchema, StageStatus as S } from "./schema/model/stage_pb";

const stage = (id: string, name: string, status: S, statusReason = "", rollback = false) =>
  create(PipelineStageSchema, { id, name, status, statusReason, rollback });
const FAILED = stage("stage-1", "K8S_CANARY_ROLLOUT", S.STAGE_FAILURE, "pod web-1: CrashLoopBackOff");
const deployment = (status: D, stages: Deployment["stages"], statusReason = "") =>
  create(DeploymentSchema, { status, stages, statusReason, runningCommitHash: "0123456789" });

test.each([
  [
    "a failure that was rolled back",
    deployment(D.DEPLOYMENT_FAILURE, [FAILED, stage("rollback", "ROLLBACK", S.STAGE_SUCCESS, "", true)]),
    "Stage K8S_CANARY_ROLLOUT failed: pod web-1: CrashLoopBackOff. It was rolled back to commit 0123456.",
  ],
  [
    "a failure that an agent of PipeCD without plugins rolled back",
    deployment(D.DEPLOYMENT_FAILURE, [FAILED, stage("Rollback", "ROLLBACK", S.STAGE_SUCCESS)]),
    "Stage K8S_CANARY_ROLLOUT failed: pod web-1: CrashLoopBackOff. It was rolled back to commit 0123456.",
  ],
  [
    "a failure whose rollback failed",
    deployment(D.DEPLOYMENT_FAILURE, [FAILED, stage("rollback", "ROLLBACK", S.STAGE_FAILURE, "no access", true)]),
    "Stage K8S_CANARY_ROLLOUT failed: pod web-1: CrashLoopBackOff. The rollback failed too: no access. Parts of both versions may be running.",
  ],
  [
    "a failure without rollback",
    deployment(D.DEPLOYMENT_FAILURE, [FAILED, stage("rollback", "ROLLBACK", S.STAGE_NOT_STARTED_YET, "", true)]),
    "Stage K8S_CANARY_ROLLOUT failed: pod web-1: CrashLoopBackOff. It was not rolled back: what its stages changed stays as it is.",
  ],
  [
    "a rollback in progress",
    deployment(D.DEPLOYMENT_ROLLING_BACK, [FAILED, stage("rollback", "ROLLBACK", S.STAGE_RUNNING, "", true)]),
    "Stage K8S_CANARY_ROLLOUT failed: pod web-1: CrashLoopBackOff. It is being rolled back to commit 0123456.",
  ],
  [
    "a cancelled deployment of an agent that names stages by their IDs",
    deployment(D.DEPLOYMENT_CANCELLED, [stage("stage-0", "WAIT", S.STAGE_CANCELLED)], "Cancelled by ada while executing stage stage-0"),
    "Cancelled by ada while executing stage WAIT. It was not rolled back: what its stages changed stays as it is.",
  ],
  [
    "a deployment that could not be planned",
    deployment(D.DEPLOYMENT_FAILURE, [], "shop/app.pipecd.yaml:3: unknown key"),
    "shop/app.pipecd.yaml:3: unknown key.",
  ],
])("%s", (_, failed, sentence) => {
  expect(describeFailure(failed)?.sentence).toBe(sentence);
});

test("a deployment that did not fail has no failure", () => {
  expect(describeFailure(deployment(D.DEPLOYMENT_SUCCESS, []))).toBeNull();
});

test.each([
  ["https://github.com/o/r/commit/b2", "https://github.com/o/r/compare/a1...b2"],
  ["https://gitlab.com/g/r/-/commit/b2", "https://gitlab.com/g/r/-/compare/a1...b2"],
  ["https://git.example/r", ""],
  ["javascript:alert(1)/commit/b2", ""],
  ["", ""],
])("the comparison of the commit %s is at %s", (commit, url) => {
  expect(compareUrl(commit, "a1", "b2")).toBe(url);
});

test("the reason of a failure names a stage by its name", () => {
  expect(reasonOf(deployment(D.DEPLOYMENT_FAILURE, [FAILED], "stage stage-1 failed: no access"))).toBe(
    "stage K8S_CANARY_ROLLOUT failed: no access",
  );
});
