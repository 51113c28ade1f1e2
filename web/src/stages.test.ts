import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { PipelineStageSchema, StageStatus as S } from "./schema/model/stage_pb";
import { planStageBefore, shownStages, stageProgress, variantFigures } from "./stages";

const stage = (index: number, name: string, status: S, metadata: Record<string, string> = {}, rollback = false) =>
  create(PipelineStageSchema, { id: `stage-${index}`, index, name, status, metadata, rollback });

const CANARY = [
  stage(0, "K8S_CANARY_ROLLOUT", S.STAGE_SUCCESS, { "canary-replicas": "2", "canary-ready-replicas": "2" }),
  stage(1, "K8S_TRAFFIC_ROUTING", S.STAGE_SUCCESS, { "primary-percentage": "80", "canary-percentage": "20" }),
  stage(2, "K8S_TRAFFIC_ROUTING", S.STAGE_RUNNING, { "primary-percentage": "50", "canary-percentage": "50" }),
  stage(3, "K8S_TRAFFIC_ROUTING", S.STAGE_NOT_STARTED_YET, { "primary-percentage": "0" }),
];

test("the latest share and replicas of each variant are shown", () => {
  expect(variantFigures(CANARY)).toEqual([
    { name: "primary", share: 50, hasShare: true, replicas: null, ready: null },
    { name: "canary", share: 50, hasShare: true, replicas: 2, ready: 2 },
  ]);
});

test("a variant that no stage gives traffic and replicas is left out", () => {
  const shares = (canary: string) => ({ "canary-percentage": canary, "baseline-percentage": "0" });
  const stages = [
    stage(0, "K8S_TRAFFIC_ROUTING", S.STAGE_SUCCESS, { "primary-percentage": "80", ...shares("20") }),
    stage(1, "K8S_TRAFFIC_ROUTING", S.STAGE_RUNNING, { "primary-percentage": "100", ...shares("0") }),
  ];
  expect(variantFigures(stages).map(({ name, share }) => [name, share])).toEqual([
    ["primary", 100],
    ["canary", 0],
  ]);
});

test.each([
  ["10", [["previous", 90], ["promote", 10]]],
  ["100", [["previous", 0], ["promote", 100]]],
])("while a version has %s %% of the traffic, the versions before have the rest", (percentage, shares) => {
  const promoting = [stage(0, "CLOUDRUN_PROMOTE", S.STAGE_RUNNING, { "promote-percentage": percentage })];
  expect(variantFigures(promoting).map(({ name, share }) => [name, share])).toEqual(shares);
});

test("a figure that is no number is left out, and a share stays within its bounds", () => {
  const odd = [stage(0, "X", S.STAGE_RUNNING, { "canary-percentage": "4000", "primary-percentage": "many" })];
  expect(variantFigures(odd).map(({ name, share }) => [name, share])).toEqual([["canary", 100]]);
});

test("an approval decides about the last plan before it", () => {
  const stages = [
    stage(0, "TERRAFORM_PLAN", S.STAGE_SUCCESS),
    stage(1, "TERRAFORM_PLAN", S.STAGE_SUCCESS),
    stage(2, "WAIT_APPROVAL", S.STAGE_RUNNING),
    stage(3, "TERRAFORM_PLAN", S.STAGE_SUCCESS),
  ];
  const approval = stage(2, "WAIT_APPROVAL", S.STAGE_RUNNING);
  expect(planStageBefore(stages, approval)?.id).toBe("stage-1");
  expect(planStageBefore(CANARY, approval)).toBeUndefined();
});

test.each([
  ["that says so", "K8S_UNDO", true],
  ["of PipeCD's agents without plugins, which only name it so", "ROLLBACK", false],
  ["of a script", "SCRIPT_RUN_ROLLBACK", false],
])("a rollback stage %s is shown last, only if it has started, and does not count as progress", (_, name, rollback) => {
  const planned = stage(0, name, S.STAGE_NOT_STARTED_YET, {}, rollback);
  const started = stage(0, name, S.STAGE_RUNNING, {}, rollback);
  expect(shownStages([planned, ...CANARY])).toEqual(CANARY);
  expect(shownStages([started, ...CANARY.toReversed()])).toEqual([...CANARY, started]);
  expect(stageProgress([planned, ...CANARY])).toEqual({ ended: 2, total: 4 });
});
