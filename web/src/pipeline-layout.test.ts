import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { layOut, STAGE } from "./pipeline-layout";
import { PipelineStageSchema, StageStatus } from "./schema/model/stage_pb";

const stage = (id: string, index: number, requires: string[], more: object = {}) =>
  create(PipelineStageSchema, { id, index, requires, name: id, visible: true, ...more });

test("stages follow one another, and each is joined to what it requires", () => {
  const layout = layOut([stage("b", 1, ["a"]), stage("a", 0, [])], "right");
  const [a, b] = ["a", "b"].map((id) => layout.stages.find((each) => each.stage.id === id));
  expect(b?.x).toBeGreaterThan((a?.x ?? 0) + STAGE.width);
  expect(layout.edges.map((edge) => [edge.from, edge.to])).toEqual([["a", "b"]]);
});

test("a rollback is drawn only when it was reached, below the stage where the way ended", () => {
  const failed = { status: StageStatus.STAGE_FAILURE };
  const rollback = { rollback: true, visible: false };
  const forward = [stage("a", 0, [], failed), stage("b", 1, ["a"])];
  expect(layOut([...forward, stage("r", 2, [], rollback)], "right").stages).toHaveLength(2);
  const reached = stage("r", 2, [], { ...rollback, status: StageStatus.STAGE_SUCCESS });
  const layout = layOut([...forward, reached], "right");
  const [a, r] = ["a", "r"].map((id) => layout.stages.find((each) => each.stage.id === id));
  expect([r?.x, (r?.y ?? 0) > (a?.y ?? 0)]).toEqual([a?.x, true]);
});
