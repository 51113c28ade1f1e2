// Places the nodes of the resource tree from left to right. Runs in a worker: see `layout.worker.ts`.

import { Graph, layout } from "@dagrejs/dagre";

import { NODE_SIZE, type Position, type TreeLayout } from "./tree-layout";

export interface LayoutNode {
  id: string;
  parentId: string | null;
}

/** In CSS pixels. */
const GAP = { sibling: 12, level: 56 };

/** Each node is beside its parent, siblings in the order of `nodes`. Parents come before their children. */
export function placeNodes(nodes: readonly LayoutNode[]): TreeLayout {
  const graph = new Graph();
  graph.setGraph({ rankdir: "LR", nodesep: GAP.sibling, ranksep: GAP.level, ranker: "tight-tree" });
  graph.setDefaultEdgeLabel(() => ({}));
  // dagre keeps nodes in objects, in which the ID of a resource could be a name such as `__proto__`.
  const keys = new Map(nodes.map(({ id }, index) => [id, `n${index}`]));
  for (const key of keys.values()) graph.setNode(key, { ...NODE_SIZE });
  for (const { id, parentId } of nodes) {
    const [parent, child] = [keys.get(parentId ?? ""), keys.get(id)];
    if (parent && child) graph.setEdge(parent, child);
  }
  // In a tree the given order has no crossing edges; a search for a better one would only take time.
  layout(graph, { disableOptimalOrderHeuristic: true });
  const positions = new Map<string, Position>();
  for (const [id, key] of keys) {
    const { x, y } = graph.node(key) as Position;
    positions.set(id, { x: x - NODE_SIZE.width / 2, y: y - NODE_SIZE.height / 2 });
  }
  const { width = 0, height = 0 } = graph.graph() as { width?: number; height?: number };
  return { positions, width, height };
}
