import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";

import {
  deploymentsPerDay,
  failureRate,
  formatFrequency,
  formatRate,
  formatShortDuration,
  insightFilter,
  insightRange,
  toCsv,
  trend,
} from "./insights";
import { InsightBucket, InsightFiguresSchema } from "./schema/pipecd/v1/insights_pb";

const DAY = 86_400;
const figures = create(InsightFiguresSchema, {
  start: 0n,
  end: BigInt(10 * DAY),
  deployments: 6n,
  succeeded: 4n,
  changes: 5n,
  failures: 1n,
  leadTime: { count: 3n, median: 3600.4, p90: 7200 },
});

describe("filters", () => {
  it("have a default for everything that the address does not say, or says wrongly", () => {
    const expected = { days: 30, bucket: InsightBucket.DAY, applicationId: "", kinds: [], labels: {} };
    expect(insightFilter(new URLSearchParams())).toEqual(expected);
    expect(insightFilter(new URLSearchParams("range=-5&bucket=year&label=x"))).toEqual(expected);
  });

  it.each([
    ["range=7", InsightBucket.DAY],
    ["range=90", InsightBucket.WEEK],
    ["range=730", InsightBucket.MONTH],
    ["range=730&bucket=day", InsightBucket.DAY],
  ])("%s shows buckets that fit", (query, bucket) => {
    expect(insightFilter(new URLSearchParams(query)).bucket).toBe(bucket);
  });

  it("ask the same question within an hour", () => {
    expect(insightRange(30, 3601)).toEqual(insightRange(30, 7200));
  });
});

describe("figures", () => {
  it("do not count days that are still to come", () => {
    expect(deploymentsPerDay(figures, 20 * DAY)).toBeCloseTo(0.4);
    expect(deploymentsPerDay(figures, 4 * DAY)).toBeCloseTo(1);
  });

  it.each([[3.21, "3.2 a day"], [1, "1 a day"], [0.3, "2.1 a week"], [0.05, "1.5 a month"], [0, "0 a month"]])(
    "%f deployments a day are %s",
    (perDay, text) => expect(formatFrequency(perDay)).toBe(text),
  );

  it("have no failure rate without changes", () => {
    expect(failureRate(figures)).toBe(0.2);
    expect(failureRate(create(InsightFiguresSchema, { deployments: 1n }))).toBeNull();
  });

  it.each([[0, "0%"], [0.034, "3.4%"], [0.25, "25%"]])("show a rate of %f as %s", (rate, text) =>
    expect(formatRate(rate)).toBe(text),
  );

  it.each([[30, "30 s"], [90, "1.5 min"], [5400, "1.5 h"], [2 * DAY, "2 d"]])("show %d s as %s", (seconds, text) =>
    expect(formatShortDuration(seconds)).toBe(text),
  );
});

describe("a trend", () => {
  it.each([
    [2, 1, "higher", "good", "up"],
    [2, 1, "lower", "bad", "up"],
    [1, 2, "lower", "good", "down"],
    [1, 1.01, "lower", "quiet", "same"],
    [0, 0, "lower", "quiet", "same"],
    [1, null, "lower", null, null],
    [null, 1, "lower", null, null],
  ] as const)("from %s, before %s, where %s is better, is %s", (current, previous, better, tone, direction) => {
    expect(trend(current, previous, better, String)).toMatchObject({ tone, direction });
  });
});

it("the CSV has a line per point, with empty fields where nothing was measured", () => {
  expect(toCsv([figures]).split("\n")[1]).toBe("1970-01-01T00:00:00Z,6,4,5,1,0.2000,3,3600,7200,0,,");
});
