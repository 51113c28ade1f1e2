import { expect, test } from "vitest";

import { asked, offered, progress, sameVersion } from "./versions";

const piped = { version: "0.1.0", desiredVersion: "", disabled: false, updatedAt: 1_000n };

test("a version is asked for with its v, however it was written", () => {
  expect(asked("0.1.1")).toBe("v0.1.1");
  expect(asked("v0.1.1")).toBe("v0.1.1");
});

test("what runs is told without a v and is the same version", () => {
  expect(sameVersion("v0.1.1", "0.1.1")).toBe(true);
  expect(sameVersion("v0.1.1", "0.1.10")).toBe(false);
});

test.each([
  ["nothing is asked for", {}, 1_001, "there"],
  ["it runs what is asked for", { desiredVersion: "v0.1.0" }, 9_999, "there"],
  ["another version is asked for", { desiredVersion: "v0.1.1" }, 1_001, "under way"],
  ["it has never connected", { version: "", desiredVersion: "v0.1.1" }, 1_001, "under way"],
  ["nothing came of it for long", { desiredVersion: "v0.1.1" }, 1_601, "stuck"],
  ["it may not connect", { desiredVersion: "v0.1.1", disabled: true }, 9_999, "off"],
] as const)("%s", (_, given, now, expected) => {
  expect(progress({ ...piped, ...given }, now)).toBe(expected);
});

test("offered is what the control plane knows and what runs, each once", () => {
  const others = [piped, { ...piped, version: "v0.2.0", desiredVersion: "v0.1.0" }];
  expect(offered(["v0.1.0"], others)).toEqual(["v0.1.0", "v0.2.0"]);
  expect(offered([], [{ ...piped, version: "" }])).toEqual([]);
});
