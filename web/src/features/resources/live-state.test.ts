import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { buildTree, listResources, type Resource, type ResourceNode } from "./live-state";
import { ApplicationLiveStateSnapshotSchema } from "../../schema/model/live_state_pb";

const resource = (id: string, ...parents: string[]): Resource => ({
  id,
  apiVersion: "",
  namespace: "",
  kind: "Thing",
  name: id,
  parents,
  health: 0,
  healthDescription: "",
  createdAt: 0n,
  metadata: {},
});

const render = (nodes: ResourceNode[]): string =>
  nodes
    .map(({ resource, children }) => (children.length > 0 ? `${resource.id}(${render(children)})` : resource.id))
    .join(" ");

test.each([
  ["children are placed below their parent", [resource("b", "a"), resource("a"), resource("c", "b")], "a(b(c))"],
  ["a resource with an unknown parent is a root", [resource("a", "gone"), resource("b", "a")], "a(b)"],
  ["the first known parent is used", [resource("a"), resource("b"), resource("c", "gone", "b")], "a b(c)"],
  ["a resource that is its own parent is a root", [resource("a", "a")], "a"],
  ["each resource of a cycle appears once", [resource("a", "b"), resource("b", "a")], "a(b)"],
])("%s", (_, resources, expected) => {
  expect(render(buildTree(resources))).toBe(expected);
});

test("the snapshot's timestamp is not a resource's creation time", () => {
  const resources = [
    { id: "aws_instance.web", createdAt: 7n },
    { id: "module.net", createdAt: 5n },
  ];
  const snapshot = create(ApplicationLiveStateSnapshotSchema, {
    version: { timestamp: 7n },
    applicationLiveState: { resources },
  });
  expect(listResources(snapshot).map((resource) => resource.createdAt)).toEqual([0n, 5n]);
});

test.each([
  ["of a platform's own list", { kubernetes: { resources: [{ id: "a", apiVersion: "apps/v1", namespace: "shop" }] } }],
  [
    "of the generic list",
    {
      applicationLiveState: {
        resources: [{ id: "a", resourceMetadata: { "API Version": "apps/v1", Namespace: "shop" } }],
      },
    },
  ],
])("a resource %s has its API version and namespace", (_, lists) => {
  const [resource] = listResources(create(ApplicationLiveStateSnapshotSchema, lists));
  expect([resource?.apiVersion, resource?.namespace]).toEqual(["apps/v1", "shop"]);
});
