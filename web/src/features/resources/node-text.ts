// Texts of the nodes of the resource tree.

import type { GraphNode, HealthCounts } from "./graph";

/** `200 × Pod` for a group. */
export const nameOf = (node: GraphNode): string => (node.members > 0 ? `${node.members} × ${node.label}` : node.label);

/** `196 healthy, 4 unhealthy`: what is wrong is never left out. */
export function countsText({ healthy, unhealthy, unknown }: HealthCounts): string {
  const parts = [
    unhealthy > 0 && `${unhealthy} unhealthy`,
    healthy > 0 && `${healthy} healthy`,
    unknown > 0 && `${unknown} unknown`,
  ];
  return parts.filter(Boolean).join(", ");
}
