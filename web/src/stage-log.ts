// A stage's log as it grows: lines, what is wrong among them, and where a text occurs.

import Anser from "anser";

import { type LogBlock, LogSeverity } from "./schema/model/stage_log_pb";

export interface LogLine {
  severity: LogSeverity;
  /** Seconds since 1970. */
  at: number;
  /** As written, with terminal colour codes. */
  text: string;
  /** Without them. */
  plain: string;
}

export interface StageLog {
  lines: readonly LogLine[];
  /** The index to ask for next; blocks below it are in `lines`. */
  next: bigint;
  completed: boolean;
}

export const EMPTY_LOG: StageLog = { lines: [], next: 0n, completed: false };

type Block = Pick<LogBlock, "index" | "log" | "severity" | "createdAt">;

/** The log with `blocks` behind it; blocks that it holds already are passed over. */
export function grown(log: StageLog, blocks: readonly Block[], completed: boolean): StageLog {
  const fresh = blocks
    .filter((block) => block.index >= log.next)
    .toSorted((one, other) => (one.index < other.index ? -1 : one.index > other.index ? 1 : 0));
  const last = fresh.at(-1);
  if (!last) return log.completed === completed ? log : { ...log, completed };
  return { lines: [...log.lines, ...fresh.flatMap(linesOf)], next: last.index + 1n, completed };
}

function linesOf(block: Block): LogLine[] {
  const texts = block.log.replace(/\r?\n$/, "").split(/\r?\n/);
  return texts.map((text) => ({
    severity: block.severity,
    at: Number(block.createdAt),
    text,
    plain: text.includes("\u001b") ? Anser.ansiToText(text) : text,
  }));
}

/** The index of the first line that reports an error, or -1. */
export function firstError(lines: readonly LogLine[]): number {
  return lines.findIndex((line) => line.severity === LogSeverity.ERROR);
}

/** The indexes of the lines in which `text` occurs, whatever its case. */
export function occurrences(lines: readonly LogLine[], text: string): number[] {
  const wanted = text.toLowerCase();
  if (!wanted) return [];
  return lines.flatMap((line, index) => (line.plain.toLowerCase().includes(wanted) ? [index] : []));
}

export interface Painted {
  text: string;
  /** Class names for colour and weight. */
  classes: string;
  colour?: string;
  background?: string;
  found: boolean;
}

/** A line cut into pieces of one look each, with the occurrences of `wanted` marked. */
export function paint(line: LogLine, wanted: string): Painted[] {
  const marks = marksIn(line.plain, wanted);
  let start = 0;
  return spans(line).flatMap((span) => {
    const pieces = cut(span, start, marks);
    start += span.text.length;
    return pieces;
  });
}

type Span = Omit<Painted, "found">;

function spans(line: LogLine): Span[] {
  if (line.text === line.plain) return [{ text: line.text, classes: "" }];
  return Anser.ansiToJson(line.text, { use_classes: true, remove_empty: true }).map((piece) => ({
    text: piece.content,
    classes: [piece.fg, piece.bg && `${piece.bg}-bg`, ...piece.decorations.map((each) => `ansi-${each}`)]
      .filter((name) => name && !name.endsWith("truecolor") && !name.endsWith("truecolor-bg"))
      .join(" "),
    ...(piece.fg === "ansi-truecolor" && { colour: `rgb(${piece.fg_truecolor})` }),
    ...(piece.bg === "ansi-truecolor" && { background: `rgb(${piece.bg_truecolor})` }),
  }));
}

function marksIn(plain: string, wanted: string): [number, number][] {
  const marks: [number, number][] = [];
  if (!wanted) return marks;
  const [text, sought] = [plain.toLowerCase(), wanted.toLowerCase()];
  for (let at = text.indexOf(sought); at >= 0; at = text.indexOf(sought, at + sought.length)) {
    marks.push([at, at + sought.length]);
  }
  return marks;
}

function cut(span: Span, start: number, marks: readonly [number, number][]): Painted[] {
  const edges = new Set([0, span.text.length]);
  for (const edge of marks.flat()) {
    if (edge > start && edge < start + span.text.length) edges.add(edge - start);
  }
  const sorted = [...edges].toSorted((one, other) => one - other);
  return sorted.slice(1).map((to, index) => {
    const from = sorted[index] ?? 0;
    const found = marks.some(([first, last]) => first <= start + from && start + to <= last);
    return { ...span, text: span.text.slice(from, to), found };
  });
}
