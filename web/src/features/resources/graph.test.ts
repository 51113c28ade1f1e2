import { expect, test } from "vitest";

import { buildGraph, type ExpandMode, type Graph, type GraphNode, pathTo, type TreeFilter, VISIBLE_AT_MOST } from "./graph";
import type { Resource } from "./live-state";
import { NODE_SIZE, placeTree } from "./tree-layout";

const resource = (kind: string, name: string, parent = "", health = 1): Resource => ({
  id: `${kind}/${name}`,
  apiVersion: "",
  namespace: "shop",
  kind,
  name,
  parents: parent ? [parent] : [],
  health,
  healthDescription: "",
  createdAt: 0n,
  metadata: {},
});

const pods = (count: number, unhealthy = 0): Resource[] =>
  Array.from({ length: count }, (_, index) => resource("Pod", `web-${index}`, "ReplicaSet/web", index < unhealthy ? 2 : 1));

const WEB = [resource("Deployment", "web"), resource("ReplicaSet", "web", "Deployment/web")];
const NO_FILTER: TreeFilter = { search: "", health: new Set() };

interface Shown {
  filter?: TreeFilter;
  mode?: ExpandMode;
  toggled?: ReadonlyMap<string, boolean>;
}

const build = (resources: Resource[], { filter = NO_FILTER, mode = "auto", toggled = new Map() }: Shown = {}): Graph =>
  buildGraph("shop", resources, { filter, mode, toggled });

const text = (node: GraphNode): string => {
  const name = node.members > 0 ? `${node.members}×${node.label}` : node.label;
  return node.children.length > 0 ? `${name}(${node.children.map(text).join(" ")})` : name;
};

test("few siblings are shown one by one, below the application", () => {
  expect(text(build([...WEB, ...pods(3)]).root)).toBe("shop(web(web(web-0 web-1 web-2)))");
});

test("many siblings of a kind are one closed group, beside those that are unhealthy", () => {
  const { root, nodes } = build([...WEB, ...pods(200, 2)]);
  expect(text(root)).toBe("shop(web(web(web-0 web-1 198×Pod)))");
  expect(nodes.at(-1)?.below).toEqual({ healthy: 198, unhealthy: 0, unknown: 0 });
});

test("a large group opens into smaller ones, and these into resources", () => {
  const resources = [...WEB, ...pods(250)];
  const group = build(resources).nodes.at(-1)?.id ?? "";
  const opened = build(resources, { toggled: new Map([[group, true]]) });
  expect(text(opened.root)).toBe("shop(web(web(250×Pod(100×Pod 1–100 100×Pod 101–200 50×Pod 201–250))))");
  const last = opened.nodes.at(-1)?.id ?? "";
  const all = build(resources, { toggled: new Map([[group, true], [last, true]]) });
  expect(all.nodes).toHaveLength(1 + 2 + 1 + 3 + 50);
});

test("a search shows what matches and what is above it, even if it was closed", () => {
  const resources = [...WEB, ...pods(30), resource("Service", "web")];
  const found = build(resources, { filter: { search: "POD 17", health: new Set() }, mode: "none" });
  expect([text(found.root), found.matches]).toEqual(["shop(web(web(web-17)))", 1]);
  expect(build(resources, { filter: { search: "nothing", health: new Set() } }).nodes).toHaveLength(1);
});

test("a filter by health keeps what leads to an unhealthy resource", () => {
  const unhealthy = build([...WEB, ...pods(30, 1), resource("Service", "web")], {
    filter: { search: "", health: new Set(["unhealthy"]) },
  });
  expect(text(unhealthy.root)).toBe("shop(web(web(web-0)))");
});

test("a resource that a link selects can be opened from its path", () => {
  const resources = [...WEB, ...pods(30)];
  const toggled = new Map(pathTo(resources, "Pod/web-17").map((id): [string, boolean] => [id, true]));
  expect(build(resources, { toggled }).nodes.map((node) => node.id)).toContain("resource:Pod/web-17");
  expect(pathTo(resources, "gone")).toEqual([]);
});

test("a user can close what was open, and collapse or expand all", () => {
  const resources = [...WEB, ...pods(20)];
  const closed = build(resources, { toggled: new Map([["resource:Deployment/web", false]]) });
  expect(text(closed.root)).toBe("shop(web)");
  expect(closed.nodes[1]?.below).toEqual({ healthy: 21, unhealthy: 0, unknown: 0 });
  expect(text(build(resources, { mode: "none" }).root)).toBe("shop(web)");
  expect(build(resources, { mode: "all" }).nodes).toHaveLength(1 + 2 + 1 + 20);
});

test("at first only so many nodes are visible, and a bounded number after expanding all", () => {
  const kinds = Array.from({ length: 3_000 }, (_, index) => resource(`Kind${index % 7}`, `a${index}`));
  const children = kinds.map(({ kind, name }) => resource("Child", name, `${kind}/${name}`));
  expect(build([...kinds, ...children]).nodes.length).toBeLessThan(60);
  expect(build([...kinds, ...children], { mode: "all" }).nodes.length).toBeLessThanOrEqual(VISIBLE_AT_MOST + 10);
});

test("a chain of resources of any depth, and a cycle, are shown", () => {
  const chain = Array.from({ length: 20_000 }, (_, index) => resource("A", String(index), `A/${index + 1}`));
  expect(build(chain, { mode: "all" }).nodes.length).toBeGreaterThan(10);
});

test("the layout puts children to the right of their parent, in order and apart", () => {
  const { root, nodes } = build([...WEB, ...pods(8), resource("Service", "__proto__")]);
  const { positions, width, height } = placeTree(root);
  for (const { id, parentId } of nodes) {
    const [position, parent] = [positions.get(id), positions.get(parentId ?? "")];
    if (parent) expect(position?.x).toBeGreaterThanOrEqual(parent.x + NODE_SIZE.width);
  }
  const column = nodes.filter(({ label }) => label.startsWith("web-")).map(({ id }) => positions.get(id)?.y ?? 0);
  column.slice(1).forEach((y, index) => expect(y - (column[index] ?? 0)).toBeGreaterThanOrEqual(NODE_SIZE.height));
  expect(width).toBeGreaterThan(4 * NODE_SIZE.width);
  const places = [...positions.values()];
  expect(Math.min(...places.map(({ y }) => y))).toBe(0);
  expect(Math.max(...places.map(({ y }) => y)) + NODE_SIZE.height).toBe(height);
});
