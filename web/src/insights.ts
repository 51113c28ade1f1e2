// The figures of the page "Insights": filters in the URL, trends, texts and CSV.

import { parseLabels } from "./filters";
import { InsightBucket, type InsightDurations, type InsightFigures } from "./schema/pipecd/v1/insights_pb";
import { formatDuration } from "./time";

export interface InsightFilter {
  /** Days until now. */
  days: number;
  bucket: InsightBucket;
  applicationId: string;
  kinds: string[];
  labels: Record<string, string>;
}

export const RANGES: readonly { days: number; text: string }[] = [
  { days: 7, text: "7 days" },
  { days: 30, text: "30 days" },
  { days: 90, text: "90 days" },
  { days: 365, text: "1 year" },
  { days: 730, text: "2 years" },
];
const DEFAULT_DAYS = 30;
export const BUCKETS: readonly { bucket: InsightBucket; value: string; text: string }[] = [
  { bucket: InsightBucket.DAY, value: "day", text: "Days" },
  { bucket: InsightBucket.WEEK, value: "week", text: "Weeks" },
  { bucket: InsightBucket.MONTH, value: "month", text: "Months" },
];

export function insightFilter(params: URLSearchParams): InsightFilter {
  const chosen = Number(params.get("range"));
  const days = RANGES.some((range) => range.days === chosen) ? chosen : DEFAULT_DAYS;
  const bucket = BUCKETS.find(({ value }) => value === params.get("bucket"))?.bucket;
  return {
    days,
    bucket: bucket ?? defaultBucket(days),
    applicationId: params.get("application") ?? "",
    kinds: params.getAll("kind").map((kind) => kind.toUpperCase()),
    labels: parseLabels(params.getAll("label")),
  };
}

/** Not more than about thirty bars, which a phone can show. */
export function defaultBucket(days: number): InsightBucket {
  if (days <= 31) return InsightBucket.DAY;
  return days <= 180 ? InsightBucket.WEEK : InsightBucket.MONTH;
}

const DAY = 86_400;

/** Seconds since 1970. The end is that of the hour, so that the same page asks the same question. */
export function insightRange(days: number, now: number): { from: number; to: number } {
  const to = Math.ceil(now / 3600) * 3600;
  return { from: to - (days - 1) * DAY, to };
}

/** Successful deployments per day; the part of the period that is in the future does not count. */
export function deploymentsPerDay(figures: InsightFigures, now: number): number {
  const seconds = Math.min(Number(figures.end), now) - Number(figures.start);
  return seconds > 0 ? (Number(figures.succeeded) * DAY) / seconds : 0;
}

const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });

/** `3.2 a day`, `2 a week` or `1 a month`: in the first unit in which it is at least 1. */
export function formatFrequency(perDay: number): string {
  if (perDay >= 1) return `${short.format(perDay)} a day`;
  if (perDay * 7 >= 1) return `${short.format(perDay * 7)} a week`;
  return `${short.format(perDay * 30)} a month`;
}

/** Between 0 and 1; null without changes. */
export function failureRate(figures: InsightFigures): number | null {
  return figures.changes === 0n ? null : Number(figures.failures) / Number(figures.changes);
}

export const formatRate = (rate: number): string =>
  `${new Intl.NumberFormat("en", { maximumFractionDigits: rate < 0.1 ? 1 : 0 }).format(rate * 100)}%`;

export const median = (durations: InsightDurations | undefined): number | null =>
  durations && durations.count > 0n ? durations.median : null;

export const p90 = (durations: InsightDurations | undefined): number | null =>
  durations && durations.count > 0n ? durations.p90 : null;

/** In the largest unit, as an axis has no place for two. */
export function formatShortDuration(seconds: number): string {
  for (const [unit, name] of [[DAY, "d"], [3600, "h"], [60, "min"]] as const) {
    if (seconds >= unit) return `${short.format(seconds / unit)} ${name}`;
  }
  return `${short.format(seconds)} s`;
}

export interface Trend {
  /** Null if there is nothing to compare. */
  tone: "good" | "bad" | "quiet" | null;
  direction: "up" | "down" | "same" | null;
  text: string;
}

/** Compares with the period before. A change below 2 % is none. */
export function trend(
  current: number | null,
  previous: number | null,
  better: "higher" | "lower",
  format: (value: number) => string,
): Trend {
  if (current === null) return { tone: null, direction: null, text: "" };
  if (previous === null) return { tone: null, direction: null, text: "None in the period before" };
  const before = `from ${format(previous)}`;
  const size = Math.max(Math.abs(current), Math.abs(previous));
  if (size === 0 || Math.abs(current - previous) / size < 0.02) {
    return { tone: "quiet", direction: "same", text: "As in the period before" };
  }
  const direction = current > previous ? "up" : "down";
  const good = (direction === "up") === (better === "higher");
  return { tone: good ? "good" : "bad", direction, text: before };
}

const CSV_COLUMNS = [
  "start",
  "deployments",
  "succeeded",
  "changes",
  "failures",
  "change_failure_rate",
  "lead_times",
  "lead_time_median_seconds",
  "lead_time_p90_seconds",
  "restores",
  "time_to_restore_median_seconds",
  "time_to_restore_p90_seconds",
];

/** The same columns as `pipectl insights -o csv`. */
export function toCsv(points: readonly InsightFigures[]): string {
  const durations = (value: InsightDurations | undefined) =>
    value && value.count > 0n ? [value.count, Math.round(value.median), Math.round(value.p90)] : [0, "", ""];
  const rows = points.map((point) => [
    new Date(Number(point.start) * 1000).toISOString().replace(".000Z", "Z"),
    point.deployments,
    point.succeeded,
    point.changes,
    point.failures,
    failureRate(point)?.toFixed(4) ?? "",
    ...durations(point.leadTime),
    ...durations(point.timeToRestore),
  ]);
  return [CSV_COLUMNS, ...rows].map((row) => `${row.join(",")}\n`).join("");
}

export const formatMedian = (seconds: number): string => formatDuration(seconds);

const dayMonth = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const monthYear = new Intl.DateTimeFormat("en-GB", { month: "short", year: "2-digit" });
const fullDay = new Intl.DateTimeFormat("en-GB", { dateStyle: "full" });
const fullMonth = new Intl.DateTimeFormat("en-GB", { month: "long", year: "numeric" });

export function formatBucket(bucket: InsightBucket, seconds: number): string {
  return (bucket === InsightBucket.MONTH ? monthYear : dayMonth).format(seconds * 1000);
}

export function formatWholeBucket(bucket: InsightBucket, seconds: number): string {
  if (bucket === InsightBucket.MONTH) return fullMonth.format(seconds * 1000);
  const text = fullDay.format(seconds * 1000);
  return bucket === InsightBucket.WEEK ? `Week from ${text}` : text;
}
