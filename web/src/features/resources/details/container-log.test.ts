import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";

import { appendLines, isFinal, lastTime, lineTime, MAX_LINES } from "./container-log";

const line = (time: string, text = "x") => ({ time, text });

test("the oldest lines are dropped", () => {
  const full = Array.from({ length: MAX_LINES }, (_, index) => line("", String(index)));
  const lines = appendLines(full, [line("", "new")]);
  expect(lines).toHaveLength(MAX_LINES);
  expect([lines[0]?.text, lines.at(-1)?.text]).toEqual(["1", "new"]);
  expect(appendLines(full, [])).toBe(full);
});

test("a stream continues after the last line with a time", () => {
  expect(lastTime([line("a"), line("b"), line("")])).toBe("b");
  expect(lastTime([])).toBe("");
});

test("a missing right is final, a lost agent is not", () => {
  expect(isFinal(new ConnectError("no", Code.PermissionDenied))).toBe(true);
  expect(isFinal(new ConnectError("no", Code.Unimplemented))).toBe(true);
  expect(isFinal(new ConnectError("the piped disconnected", Code.Unavailable))).toBe(false);
  expect(isFinal(new TypeError("Failed to fetch"))).toBe(false);
});

test("a line without a valid time has none", () => {
  expect(lineTime("")).toBe("");
  expect(lineTime("2026-11-27T12:30:05.123456789Z")).toMatch(/^\d\d:\d\d:05\.123$/);
});
