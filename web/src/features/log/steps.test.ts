import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { LogSeverity } from "../../schema/model/stage_log_pb";
import { PipelineStageSchema, StageStatus } from "../../schema/model/stage_pb";
import { appendBlocks, EMPTY_LOG, INITIAL_STATE } from "./stage-log";
import { isFolded, layoutRows, logText, type LogStep } from "./steps";

const stage = (id: string, status: StageStatus) => create(PipelineStageSchema, { id, name: id.toUpperCase(), status });

function step(id: string, status: StageStatus, lines: number): LogStep {
  const blocks = Array.from({ length: lines }, (_, index) => ({
    index: BigInt(index + 1),
    log: `${id} ${index + 1}`,
    severity: LogSeverity.INFO,
    createdAt: 60n,
  }));
  return { ...INITIAL_STATE, loaded: true, log: appendBlocks(EMPTY_LOG, blocks, true), stage: stage(id, status) };
}

const STEPS = [
  step("build", StageStatus.STAGE_SUCCESS, 3),
  step("roll", StageStatus.STAGE_FAILURE, 2),
  step("undo", StageStatus.STAGE_RUNNING, 0),
];

test("what succeeded is folded, what failed or runs is not, and a user's choice comes first", () => {
  expect(STEPS.map((one) => isFolded(one, {}))).toEqual([true, false, false]);
  expect(STEPS.map((one) => isFolded(one, { build: false, roll: true }))).toEqual([false, true, false]);
});

test.each([
  ["as steps", true, {}, [[0, -1], [1, -1], [1, 0], [1, 1], [2, -1], [2, 0]]],
  ["with all steps folded", true, { roll: true, undo: true }, [[0, -1], [1, -1], [2, -1]]],
  ["with all steps unfolded", true, { build: false }, [[0, -1], [0, 0], [0, 1], [0, 2], [1, -1], [1, 0], [1, 1], [2, -1], [2, 0]]],
  ["without headings", false, {}, [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1]]],
] as const)("rows %s have an index, and an index has its row", (_, headings, folding, rows) => {
  const layout = layoutRows(STEPS, headings, folding);
  expect(layout.count).toBe(rows.length);
  for (const [index, [stepIndex, line]] of rows.entries()) {
    expect(layout.at(index)).toEqual({ step: stepIndex, line });
    expect(layout.indexOf({ step: stepIndex, line })).toBe(index);
  }
  expect(layout.at(rows.length)).toBeUndefined();
});

test("a row of a folded step, or beyond the loaded lines, has no index", () => {
  const layout = layoutRows(STEPS, true, {});
  expect(layout.indexOf({ step: 0, line: 0 })).toBe(-1);
  expect(layout.indexOf({ step: 1, line: 2 })).toBe(-1);
  expect(layout.indexOf({ step: 7, line: -1 })).toBe(-1);
  expect(layoutRows(STEPS, false, {}).indexOf({ step: 0, line: -1 })).toBe(-1);
  expect(layoutRows([], true, {}).at(0)).toBeUndefined();
});

test("the text of a log names each step that wrote lines", () => {
  expect(logText(STEPS, true, false)).toBe("=== BUILD ===\nbuild 1\nbuild 2\nbuild 3\n\n=== ROLL ===\nroll 1\nroll 2");
  expect(logText(STEPS.slice(1, 2), false, true)).toBe("1970-01-01T00:01:00.000Z roll 1\n1970-01-01T00:01:00.000Z roll 2");
});
