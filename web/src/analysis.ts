// What our agents store of an ANALYSIS stage: the checks of each metric, log and URL, as the chart shows them.

import type { SeriesChartProps } from "./components/series-chart";
import type { PipelineStage } from "./schema/model/stage_pb";

export type Verdict = "passed" | "failed" | "no-data" | "error" | "inconclusive";

export interface Check {
  /** Seconds since 1970. */
  at: number;
  verdict: Verdict;
  why: string;
  low: number | null;
  middle: number | null;
  high: number | null;
  /** Median of what a comparison compares with. */
  other: number | null;
}

export interface AnalysisEntry {
  id: string;
  /** Name of its template, or empty. */
  name: string;
  query: string;
  /** To the provider's own graph; may be empty. */
  link: string;
  strategy: string;
  expected: { min: number | null; max: number | null } | null;
  allowedFailures: number;
  passed: number;
  failed: number;
  checks: Check[];
}

const VERDICTS: readonly string[] = ["passed", "failed", "no-data", "error", "inconclusive"];

const number = (value: unknown): number | null => (typeof value === "number" && Number.isFinite(value) ? value : null);
const text = (value: unknown): string => (typeof value === "string" ? value : "");
const record = (value: unknown): Record<string, unknown> =>
  typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};

/** The entries of the analysis in the order of the configuration; none for a stage of PipeCD's agents. */
export function analysisEntries(stage: PipelineStage): AnalysisEntry[] {
  try {
    const state = record(JSON.parse(stage.metadata["pipecd/analysis"] ?? "{}"));
    return Object.entries(record(state["entries"])).map(([id, stored]) => readEntry(id, record(stored)));
  } catch {
    return [];
  }
}

function readEntry(id: string, stored: Record<string, unknown>): AnalysisEntry {
  const expected = stored["expected"] === undefined ? null : record(stored["expected"]);
  const checks = Array.isArray(stored["checks"]) ? stored["checks"].map(record) : [];
  return {
    id,
    name: text(stored["name"]),
    query: text(stored["query"]),
    link: text(stored["link"]),
    strategy: text(stored["strategy"]),
    expected: expected && { min: number(expected["min"]), max: number(expected["max"]) },
    allowedFailures: number(stored["allowed_failures"]) ?? 0,
    passed: number(stored["passed"]) ?? 0,
    failed: number(stored["failed"]) ?? 0,
    checks: checks.map(readCheck),
  };
}

function readCheck(stored: Record<string, unknown>): Check {
  const verdict = text(stored["verdict"]);
  return {
    at: number(stored["at"]) ?? 0,
    verdict: VERDICTS.includes(verdict) ? (verdict as Verdict) : "error",
    why: text(stored["why"]),
    low: number(stored["low"]),
    middle: number(stored["middle"]) ?? number(stored["high"]),
    high: number(stored["high"]),
    other: number(stored["other"]),
  };
}

/** The check that the sentence is about: the last failed one, else the last one. */
export const decisiveCheck = ({ checks }: AnalysisEntry): Check | undefined =>
  checks.findLast(({ verdict }) => verdict === "failed") ?? checks.at(-1);

/** The reason of a check without the entry's id, which the heading has. */
export function reason(entry: AnalysisEntry, check: Check): string {
  const prefixes = [`${entry.id} (${entry.name}): `, `${entry.id}: `];
  const prefix = prefixes.find((candidate) => check.why.startsWith(candidate)) ?? "";
  return check.why.slice(prefix.length);
}

const TONES = { passed: "good", failed: "bad", "no-data": "warning", error: "warning", inconclusive: "quiet" } as const;

export const tone = ({ verdict }: Check) => TONES[verdict];

/** The chart of an entry; null if its checks have no values, as those of logs and URLs. */
export function analysisChart(entry: AnalysisEntry): SeriesChartProps | null {
  if (entry.checks.every(({ middle }) => middle === null)) return null;
  const compared = entry.checks.some(({ other }) => other !== null);
  const { expected } = entry;
  return {
    label: `Values of ${entry.name || entry.id}`,
    points: entry.checks.map((check) => ({
      at: check.at,
      values: { value: check.middle, other: check.other },
      ...(check.low !== null && check.high !== null ? { range: [check.low, check.high] as const } : {}),
      mark: { tone: tone(check), text: reason(entry, check) },
    })),
    series: [
      { name: "value", label: compared ? "New version (median)" : "Median", color: "cobalt.6" },
      ...(compared ? [{ name: "other", label: comparedWith(entry.strategy), color: "gray.6", dashed: true }] : []),
    ],
    ...(expected ? { allowed: expected } : {}),
    limits: [
      ...(expected?.max != null ? [{ value: expected.max, label: `at most ${expected.max}` }] : []),
      ...(expected?.min != null ? [{ value: expected.min, label: `at least ${expected.min}` }] : []),
    ],
    height: 200,
  };
}

function comparedWith(strategy: string): string {
  switch (strategy) {
    case "CANARY_BASELINE":
      return "Baseline (median)";
    case "CANARY_PRIMARY":
      return "Primary (median)";
    default:
      return "Previous analysis (median)";
  }
}
