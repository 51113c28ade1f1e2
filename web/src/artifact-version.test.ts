import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { displayedName, displayedVersion, knownVersions } from "./artifact-version";
import { ArtifactVersionSchema } from "./schema/model/artifact_pb";

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

test("versions that an agent did not find are left out", () => {
  const versions = ["v1.2.0", "N/A", ""].map((version) => create(ArtifactVersionSchema, { version }));
  expect(knownVersions(versions).map(({ version }) => version)).toEqual(["v1.2.0"]);
});
