// Texts and status of the nodes of the resource tree.

import type { StatusDisplay } from "../../display-names";
import type { GraphNode } from "./graph";
import { type HealthCounts, healthDisplay, worstHealth } from "./live-state";

/** `rootStatus` is the health of the application. */
export function nodeStatus(node: GraphNode, rootStatus: StatusDisplay): StatusDisplay {
  if (node.parentId === null) return rootStatus;
  return node.resource ? healthDisplay(node.resource.health) : worstHealth(node.below);
}

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
