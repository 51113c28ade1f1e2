// The layout of a resource tree as data.

/** Of every node, in CSS pixels. */
export const NODE_SIZE = { width: 236, height: 52 };

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
