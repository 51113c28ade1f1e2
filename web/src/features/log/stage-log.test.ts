import { expect, test } from "vitest";

import { LogSeverity } from "../../schema/model/stage_log_pb";
import { appendBlocks, EMPTY_LOG, findFirstError, findMatches, styleLine } from "./stage-log";

const block = (index: number, log: string, severity = LogSeverity.INFO) => ({
  index: BigInt(index),
  log,
  severity,
  createdAt: 1n,
});

test("lines are appended once and in order, even if blocks are sent again", () => {
  const first = appendBlocks(EMPTY_LOG, [block(11, "two\n"), block(10, "one\n")], false);
  const again = appendBlocks(first, [block(11, "two\n"), block(12, "three\nfour\n")], true);
  expect(again.lines.map((line) => line.plain)).toEqual(["one", "two", "three", "four"]);
  expect(again.completed).toBe(true);
  expect(again.next).toBe(13n);
});

test("a search ignores colour codes and case", () => {
  const log = appendBlocks(EMPTY_LOG, [block(1, "\u001b[31mRed alert\u001b[0m"), block(2, "calm")], false);
  expect(findMatches(log.lines, "ALERT")).toEqual([0]);
  expect(findMatches(log.lines, "")).toEqual([]);
  const line = log.lines[0];
  const matches = line ? styleLine(line, "alert").filter((span) => span.match) : [];
  expect(matches.map((span) => [span.text, span.classes])).toEqual([["alert", "ansi-red"]]);
});

test("each search of a log finds all matches, whatever was searched before", () => {
  const { lines } = appendBlocks(EMPTY_LOG, [block(1, "request 1"), block(2, "REQUEST 12"), block(3, "quest"), block(4, "none")], false);
  const found = ["q", "quest", "request", "request 1", "request 12", "quest", "none", ""].map((query) => findMatches(lines, query));
  expect(found).toEqual([[0, 1, 2], [0, 1, 2], [0, 1], [0, 1], [1], [0, 1, 2], [3], []]);
  const longer = appendBlocks({ lines, next: 5n, completed: false }, [block(5, "none again")], true).lines;
  expect(findMatches(longer, "none")).toEqual([3, 4]);
});

test("the index of the first error is found, or -1", () => {
  const log = appendBlocks(EMPTY_LOG, [block(1, "a"), block(2, "b", LogSeverity.ERROR)], false);
  expect(findFirstError(log.lines)).toBe(1);
  expect(findFirstError([])).toBe(-1);
});
