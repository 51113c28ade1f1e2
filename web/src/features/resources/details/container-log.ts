// The lines of a container's log, and when its stream is opened again.

import { Code, ConnectError } from "@connectrpc/connect";

export interface ContainerLogLine {
  /** RFC 3339; empty if it is unknown. */
  time: string;
  text: string;
}

/** Of more lines, the oldest are dropped. */
export const MAX_LINES = 20_000;

export function appendLines(
  lines: readonly ContainerLogLine[],
  added: readonly ContainerLogLine[],
): readonly ContainerLogLine[] {
  if (added.length === 0) return lines;
  const all = [...lines, ...added.map(({ time, text }) => ({ time, text }))];
  return all.length > MAX_LINES ? all.slice(all.length - MAX_LINES) : all;
}

/** Where the next stream continues: the time of the last line that has one. */
export function lastTime(lines: readonly ContainerLogLine[]): string {
  return lines.findLast(({ time }) => time !== "")?.time ?? "";
}

/** Errors after which another attempt would fail in the same way. */
const FINAL_CODES: ReadonlySet<Code> = new Set([
  Code.PermissionDenied,
  Code.Unauthenticated,
  Code.NotFound,
  Code.Unimplemented,
  Code.InvalidArgument,
]);

export function isFinal(error: unknown): boolean {
  return FINAL_CODES.has(ConnectError.from(error).code);
}

/** `12:30:05.123` in the user's time zone. */
export function lineTime(time: string): string {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return "";
  const two = (number: number) => String(number).padStart(2, "0");
  const milliseconds = String(at.getMilliseconds()).padStart(3, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${milliseconds}`;
}
