import { expect, test } from "vitest";

import { isOlder, isOurs, isSameVersion, normalizeVersion, upgradeStatus, versionOptions } from "./versions";

const piped = { version: "0.1.0", desiredVersion: "", disabled: false, updatedAt: 1_000n };

test("a version is normalized to the prefix v", () => {
  expect(normalizeVersion("0.1.1")).toBe("v0.1.1");
  expect(normalizeVersion("v0.1.1")).toBe("v0.1.1");
});

test("versions with and without the prefix v are the same", () => {
  expect(isSameVersion("v0.1.1", "0.1.1")).toBe(true);
  expect(isSameVersion("v0.1.1", "0.1.10")).toBe(false);
});

test.each([
  ["no version is requested", {}, 1_001, "none"],
  ["the requested version is running", { desiredVersion: "v0.1.0" }, 9_999, "none"],
  ["another version is requested", { desiredVersion: "v0.1.1" }, 1_001, "upgrading"],
  ["the piped has never connected", { version: "", desiredVersion: "v0.1.1" }, 1_001, "upgrading"],
  ["the upgrade exceeds its timeout", { desiredVersion: "v0.1.1" }, 1_601, "delayed"],
  ["the piped is disabled", { desiredVersion: "v0.1.1", disabled: true }, 9_999, "disabled"],
] as const)("%s", (_, fields, now, expected) => {
  expect(upgradeStatus({ ...piped, ...fields }, now)).toBe(expected);
});

test.each([
  ["v0.2.1", "v0.10.0", true],
  ["v0.10", "v0.10.0", false],
  ["0.1.0", "v0.52.0-12-g1a2b3c4", true],
  ["v1.0.0", "v0.9.9", false],
  ["main", "v0.1.0", false],
])("%s is older than %s: %s", (version, than, older) => {
  expect(isOlder(version, than)).toBe(older);
});

test("pipeds of PipeCD are not ours, new ones may be", () => {
  expect(isOurs({ package: "pipecd", version: "0.1.0" })).toBe(true);
  expect(isOurs({ package: "", version: "" })).toBe(true);
  expect(isOurs({ package: "", version: "v0.52.0" })).toBe(false);
});

test("the options are the released versions and those of the pipeds, without duplicates", () => {
  const others = [piped, { ...piped, version: "v0.2.0", desiredVersion: "v0.1.0" }];
  expect(versionOptions(["v0.1.0"], others)).toEqual(["v0.1.0", "v0.2.0"]);
  expect(versionOptions([], [{ ...piped, version: "" }])).toEqual([]);
});
