import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { type Branch, type Resource, resourcesOf, treeOf } from "./live-state";
import { ApplicationLiveStateSnapshotSchema } from "./schema/model/live_state_pb";

const resource = (id: string, ...parents: string[]): Resource => ({
  id,
  kind: "Thing",
  name: id,
  parents,
  health: 0,
  why: "",
  since: 0n,
});

const drawn = (branches: Branch[]): string =>
  branches.map(({ resource, below }) => (below.length > 0 ? `${resource.id}(${drawn(below)})` : resource.id)).join(" ");

test.each([
  ["children stand below their parent", [resource("b", "a"), resource("a"), resource("c", "b")], "a(b(c))"],
  ["who names a parent that is not there stands at the root", [resource("a", "gone"), resource("b", "a")], "a(b)"],
  ["of two parents the first that is there counts", [resource("a"), resource("b"), resource("c", "gone", "b")], "a b(c)"],
  ["who is their own parent stands at the root", [resource("a", "a")], "a"],
  ["in a circle each stands once", [resource("a", "b"), resource("b", "a")], "a(b)"],
])("%s", (_, resources, expected) => {
  expect(drawn(treeOf(resources))).toBe(expected);
});

test("a time that is the snapshot's own is no time of the thing", () => {
  const resources = [
    { id: "aws_instance.web", createdAt: 7n },
    { id: "module.net", createdAt: 5n },
  ];
  const snapshot = create(ApplicationLiveStateSnapshotSchema, {
    version: { timestamp: 7n },
    applicationLiveState: { resources },
  });
  expect(resourcesOf(snapshot).map((each) => each.since)).toEqual([0n, 5n]);
});
