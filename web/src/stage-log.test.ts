import { expect, test } from "vitest";

import { LogSeverity } from "./schema/model/stage_log_pb";
import { EMPTY_LOG, firstError, grown, occurrences, paint } from "./stage-log";

const block = (index: number, log: string, severity = LogSeverity.INFO) => ({
  index: BigInt(index),
  log,
  severity,
  createdAt: 1n,
});

test("lines are added once, in their order, whatever comes again", () => {
  const first = grown(EMPTY_LOG, [block(11, "two\n"), block(10, "one\n")], false);
  const again = grown(first, [block(11, "two\n"), block(12, "three\nfour\n")], true);
  expect(again.lines.map((line) => line.plain)).toEqual(["one", "two", "three", "four"]);
  expect(again.completed).toBe(true);
  expect(again.next).toBe(13n);
});

test("a search looks behind colours and finds whatever the case", () => {
  const log = grown(EMPTY_LOG, [block(1, "\u001b[31mRed alert\u001b[0m"), block(2, "calm")], false);
  expect(occurrences(log.lines, "ALERT")).toEqual([0]);
  expect(occurrences(log.lines, "")).toEqual([]);
  const line = log.lines[0];
  const found = line ? paint(line, "alert").filter((piece) => piece.found) : [];
  expect(found.map((piece) => [piece.text, piece.classes])).toEqual([["alert", "ansi-red"]]);
});

test("the first error is found, or said to be none", () => {
  const log = grown(EMPTY_LOG, [block(1, "a"), block(2, "b", LogSeverity.ERROR)], false);
  expect(firstError(log.lines)).toBe(1);
  expect(firstError([])).toBe(-1);
});
