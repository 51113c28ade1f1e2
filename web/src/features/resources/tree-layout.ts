// Places the nodes of the resource tree from left to right.

import { hierarchy, tree } from "d3-hierarchy";

import type { GraphNode } from "./graph";

/** Of every node, in CSS pixels. */
export const NODE_SIZE = { width: 236, height: 52 };
/** In CSS pixels. */
const GAP = { sibling: 12, level: 56 };

/** The upper left corner of a node, in CSS pixels. */
export interface Position {
  x: number;
  y: number;
}

export interface TreeLayout {
  positions: ReadonlyMap<string, Position>;
  /** Of all nodes together, in CSS pixels. */
  width: number;
  height: number;
}

// d3 draws trees from top to bottom: its x is our y.
const placeNodes = tree<GraphNode>()
  .nodeSize([NODE_SIZE.height + GAP.sibling, NODE_SIZE.width + GAP.level])
  .separation(() => 1);

/** Each node is beside its children, siblings in their order. Linear in the number of nodes: 2,000 take a few milliseconds. */
export function placeTree(root: GraphNode): TreeLayout {
  const nodes = placeNodes(hierarchy(root, ({ children }) => children)).descendants();
  const top = nodes.reduce((least, { x }) => Math.min(least, x), 0);
  const bottom = nodes.reduce((most, { x }) => Math.max(most, x), 0);
  const right = nodes.reduce((most, { y }) => Math.max(most, y), 0);
  return {
    positions: new Map(nodes.map(({ x, y, data }) => [data.id, { x: y, y: x - top }])),
    width: right + NODE_SIZE.width,
    height: bottom - top + NODE_SIZE.height,
  };
}
