import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { analysisChart, analysisEntries, decisiveCheck, reason } from "./analysis";
import { PipelineStageSchema } from "./schema/model/stage_pb";

const stage = (stored: unknown) =>
  create(PipelineStageSchema, {
    metadata: { "pipecd/analysis": typeof stored === "string" ? stored : JSON.stringify(stored) },
  });
const check = (at: number, verdict: string, values: Record<string, unknown> = {}) => ({
  at,
  verdict,
  why: `metrics-0 (latency): ${verdict} at ${at}`,
  ...values,
});

test("the last failed check decides, and the limit is drawn", () => {
  const [entry] = analysisEntries(
    stage({
      entries: {
        "metrics-0": {
          name: "latency",
          expected: { min: null, max: 300 },
          allowed_failures: 1,
          failed: 1,
          checks: [
            check(1, "failed", { low: 1, middle: 2, high: 412 }),
            check(2, "passed", { low: 1, middle: 2, high: 3 }),
          ],
        },
      },
    }),
  );
  if (!entry) throw new Error("no entry");
  const decisive = decisiveCheck(entry);
  expect(decisive && reason(entry, decisive)).toBe("failed at 1");
  const chart = analysisChart(entry);
  expect(chart?.limits).toEqual([{ value: 300, label: "at most 300" }]);
  expect(chart?.points[0]).toMatchObject({ range: [1, 412], mark: { tone: "bad" } });
  expect(chart?.series).toHaveLength(1);
});

test("a comparison has a second line; a log has no chart", () => {
  const [metric, log] = analysisEntries(
    stage({
      entries: {
        "metrics-0": { strategy: "CANARY_PRIMARY", checks: [check(1, "passed", { middle: 2, other: 3 })] },
        "log-0": { checks: [check(1, "passed")] },
      },
    }),
  );
  expect(metric && analysisChart(metric)?.series[1]?.label).toBe("Primary (median)");
  expect(log && analysisChart(log)).toBeNull();
});

test.each(["", "no JSON", "null", '{"entries": 3}', '{"entries": {}}'])("%j shows nothing", (stored) => {
  expect(analysisEntries(stage(stored))).toEqual([]);
});

test("members of the wrong type are ignored", () => {
  const [entry] = analysisEntries(stage({ entries: { x: { checks: [null, { at: "1", low: {} }], expected: 5 } } }));
  expect(entry?.checks).toHaveLength(2);
  expect(entry && analysisChart(entry)).toBeNull();
});
