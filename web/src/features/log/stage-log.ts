// The log of a stage as data: appending blocks, finding errors and matches, and splitting lines into styled spans.

import Anser from "anser";

import { type LogBlock, LogSeverity } from "../../schema/model/stage_log_pb";

export interface LogLine {
  severity: LogSeverity;
  /** Seconds since 1970. */
  at: number;
  /** As written, with terminal colour codes. */
  text: string;
  /** The text without colour codes. */
  plain: string;
}

export interface StageLog {
  lines: readonly LogLine[];
  /** The index of the next block to fetch; blocks below it are in `lines`. */
  next: bigint;
  completed: boolean;
}

export const EMPTY_LOG: StageLog = { lines: [], next: 0n, completed: false };

/** The log of a stage, as far as it was requested. */
export interface StageLogState {
  log: StageLog;
  /** Whether a request was answered. */
  loaded: boolean;
  /** Whether a request is in progress. */
  loading: boolean;
  /** The error of the last request; empty if it succeeded. */
  error: string;
}

export const INITIAL_STATE: StageLogState = { log: EMPTY_LOG, loaded: false, loading: false, error: "" };

type Block = Pick<LogBlock, "index" | "log" | "severity" | "createdAt">;

/** Appends `blocks` in the order of their index. Blocks that the log already contains are ignored. */
export function appendBlocks(log: StageLog, blocks: readonly Block[], completed: boolean): StageLog {
  const newBlocks = blocks
    .filter((block) => block.index >= log.next)
    .toSorted((a, b) => (a.index < b.index ? -1 : a.index > b.index ? 1 : 0));
  const last = newBlocks.at(-1);
  if (!last) return log.completed === completed ? log : { ...log, completed };
  return { lines: [...log.lines, ...newBlocks.flatMap(splitLines)], next: last.index + 1n, completed };
}

function splitLines(block: Block): LogLine[] {
  const texts = block.log.replace(/\r?\n$/, "").split(/\r?\n/);
  return texts.map((text) => ({
    severity: block.severity,
    at: Number(block.createdAt),
    text,
    plain: text.includes("\u001b") ? Anser.ansiToText(text) : text,
  }));
}

/** The index of the first line that reports an error, or -1. */
export function findFirstError(lines: readonly LogLine[]): number {
  return lines.findIndex((line) => line.severity === LogSeverity.ERROR);
}

interface Search {
  query: string;
  matches: readonly number[];
}

/** The last search of each log: the next one usually has another letter, and is in the same lines. */
const lastSearches = new WeakMap<readonly LogLine[], Search>();

/** The indexes of the lines that contain `query`, ignoring case. */
export function findMatches(lines: readonly LogLine[], query: string): readonly number[] {
  const lowerQuery = query.toLowerCase();
  if (!lowerQuery) return [];
  const last = lastSearches.get(lines);
  if (last?.query === lowerQuery) return last.matches;
  const candidates = last && lowerQuery.includes(last.query) ? last.matches : lines.keys();
  const matches: number[] = [];
  for (const index of candidates) {
    if (lines[index]?.plain.toLowerCase().includes(lowerQuery)) matches.push(index);
  }
  lastSearches.set(lines, { query: lowerQuery, matches });
  return matches;
}

export interface StyledSpan {
  text: string;
  /** CSS class names for colour and weight. */
  classes: string;
  colour?: string;
  background?: string;
  /** Whether the span is part of a search match. */
  match: boolean;
}

type AnsiSpan = Omit<StyledSpan, "match">;

/** Splits a line into spans of uniform style, with the matches of `query` marked. */
export function styleLine(line: LogLine, query: string): StyledSpan[] {
  const matches = matchRanges(line.plain, query);
  let start = 0;
  return ansiSpans(line).flatMap((span) => {
    const spans = splitAtMatches(span, start, matches);
    start += span.text.length;
    return spans;
  });
}

function ansiSpans(line: LogLine): AnsiSpan[] {
  if (line.text === line.plain) return [{ text: line.text, classes: "" }];
  return Anser.ansiToJson(line.text, { use_classes: true, remove_empty: true }).map((entry) => ({
    text: entry.content,
    classes: [entry.fg, entry.bg && `${entry.bg}-bg`, ...entry.decorations.map((decoration) => `ansi-${decoration}`)]
      .filter((name) => name && !name.endsWith("truecolor") && !name.endsWith("truecolor-bg"))
      .join(" "),
    ...(entry.fg === "ansi-truecolor" && { colour: `rgb(${entry.fg_truecolor})` }),
    ...(entry.bg === "ansi-truecolor" && { background: `rgb(${entry.bg_truecolor})` }),
  }));
}

/** Start and end offsets of the matches of `query` in `plain`, ignoring case. */
function matchRanges(plain: string, query: string): [number, number][] {
  const ranges: [number, number][] = [];
  if (!query) return ranges;
  const [lowerText, lowerQuery] = [plain.toLowerCase(), query.toLowerCase()];
  let offset = lowerText.indexOf(lowerQuery);
  while (offset >= 0) {
    ranges.push([offset, offset + lowerQuery.length]);
    offset = lowerText.indexOf(lowerQuery, offset + lowerQuery.length);
  }
  return ranges;
}

/** `start` is the offset of `span` in its line. */
function splitAtMatches(span: AnsiSpan, start: number, matches: readonly [number, number][]): StyledSpan[] {
  const edges = new Set([0, span.text.length]);
  for (const edge of matches.flat()) {
    if (edge > start && edge < start + span.text.length) edges.add(edge - start);
  }
  const sortedEdges = [...edges].toSorted((a, b) => a - b);
  return sortedEdges.slice(1).map((to, index) => {
    const from = sortedEdges[index] ?? 0;
    const match = matches.some(([first, last]) => first <= start + from && start + to <= last);
    return { ...span, text: span.text.slice(from, to), match };
  });
}
