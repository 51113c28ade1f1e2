import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { layoutPipeline, STAGE_SIZE } from "./pipeline-layout";
import { PipelineStageSchema, StageStatus } from "./schema/model/stage_pb";

const stage = (id: string, index: number, requires: string[], fields: object = {}) =>
  create(PipelineStageSchema, { id, index, requires, name: id, ...fields });

test("stages are placed in order and connected to the stages they require", () => {
  const layout = layoutPipeline([stage("b", 1, ["a"]), stage("a", 0, [])], "right");
  const [a, b] = ["a", "b"].map((id) => layout.stages.find((placed) => placed.stage.id === id));
  expect(b?.x).toBeGreaterThan((a?.x ?? 0) + STAGE_SIZE.width);
  expect(layout.edges.map((edge) => [edge.from, edge.to])).toEqual([["a", "b"]]);
});

test.each([
  ["of this agent and of PipeCD's with plugins", { rollback: true }],
  ["of PipeCD's agents without plugins", { name: "ROLLBACK" }],
])("a rollback %s is drawn only after it started, below the last stage that ran", (_, rollback) => {
  const failed = { status: StageStatus.STAGE_FAILURE };
  const forward = [stage("a", 0, [], failed), stage("b", 1, ["a"])];
  expect(layoutPipeline([...forward, stage("r", 2, [], rollback)], "right").stages).toHaveLength(2);
  const started = stage("r", 2, [], { ...rollback, status: StageStatus.STAGE_SUCCESS });
  const layout = layoutPipeline([...forward, started], "right");
  const [a, r] = ["a", "r"].map((id) => layout.stages.find((placed) => placed.stage.id === id));
  expect([r?.x, (r?.y ?? 0) > (a?.y ?? 0)]).toEqual([a?.x, true]);
});

test("on a narrow screen a rollback is below the pipeline, not beside it", () => {
  const failed = { status: StageStatus.STAGE_FAILURE };
  const rollback = stage("r", 2, [], { rollback: true, status: StageStatus.STAGE_SUCCESS });
  const layout = layoutPipeline([stage("a", 0, [], failed), stage("b", 1, ["a"]), rollback], "down");
  const [b, r] = ["b", "r"].map((id) => layout.stages.find((placed) => placed.stage.id === id));
  expect([r?.x, (r?.y ?? 0) > (b?.y ?? 0)]).toEqual([b?.x, true]);
  expect(layout.size.width).toBe(STAGE_SIZE.width);
  expect(layout.edges.map(({ from, to }) => [from, to])).toContainEqual(["a", "r"]);
});
