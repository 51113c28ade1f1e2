import { expect, test } from "vitest";

import { displayedName, displayedVersion } from "./artifact-version";

test.each([
  ["", "Source"],
  ["web", "web"],
  ["https://git.example/shop/functions.git", "shop/functions"],
  ["https://git.example", "https://git.example"],
])("the name %s is displayed as %s", (name, expected) => {
  expect(displayedName(name)).toBe(expected);
});

test.each([
  ["v1.2.0", "v1.2.0"],
  ["https://example.com/releases/v1.2.0?download=1", "releases/v1.2.0"],
])("the version %s is displayed as %s", (version, expected) => {
  expect(displayedVersion(version)).toBe(expected);
});
