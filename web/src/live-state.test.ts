import { expect, test } from "vitest";

import { type Branch, type Resource, treeOf } from "./live-state";

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
