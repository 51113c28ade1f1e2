// Converts a live state snapshot into a tree of resources. The schema has one resource list for each of
// several platforms, and a generic one for all others.

import type { StatusDisplay } from "../../display-names";
import { groupBy } from "../../group-by";
import type { ApplicationLiveStateSnapshot } from "../../schema/model/live_state_pb";
import { ApplicationLiveStateSnapshot_Status as Status } from "../../schema/model/live_state_pb";

export interface Resource {
  id: string;
  /** Group and version of `kind`, and the namespace; empty on platforms without them. */
  apiVersion: string;
  namespace: string;
  kind: string;
  name: string;
  parents: readonly string[];
  /** UNKNOWN, HEALTHY or OTHER: the same numbers in every list. */
  health: number;
  healthDescription: string;
  /** Seconds since 1970; 0 if the platform does not report it. */
  createdAt: bigint;
  /** Values that the platform reports in addition. */
  metadata: Readonly<Record<string, string>>;
}

export interface ResourceNode {
  resource: Resource;
  children: ResourceNode[];
}

export type HealthName = "healthy" | "unhealthy" | "unknown";
export type HealthCounts = Record<HealthName, number>;

export const HEALTH: Record<HealthName, StatusDisplay> = {
  healthy: { text: "Healthy", tone: "good" },
  unhealthy: { text: "Unhealthy", tone: "bad" },
  unknown: { text: "Unknown", tone: "quiet" },
};

const HEALTH_NAMES: Record<Status, HealthName> = {
  [Status.UNKNOWN]: "unknown",
  [Status.HEALTHY]: "healthy",
  [Status.OTHER]: "unhealthy",
  [Status.UNHEALTHY]: "unhealthy",
};

/** The health that a number of the schema means; a number that this console does not know is unknown. */
export const healthName = (health: number): HealthName => HEALTH_NAMES[health as Status] ?? "unknown";

export const healthDisplay = (health: number): StatusDisplay => HEALTH[healthName(health)];

/** The worst health that was counted: one unhealthy resource makes a group unhealthy. */
export function worstHealth(counts: HealthCounts): StatusDisplay {
  if (counts.unhealthy > 0) return HEALTH.unhealthy;
  return counts.unknown > 0 ? HEALTH.unknown : HEALTH.healthy;
}

export function listResources(snapshot: ApplicationLiveStateSnapshot): Resource[] {
  const platformResources =
    snapshot.kubernetes?.resources ??
    snapshot.cloudrun?.resources ??
    snapshot.lambda?.resources ??
    snapshot.ecs?.resources;
  if (platformResources) {
    return platformResources.map((resource) => ({
      id: resource.id,
      apiVersion: "apiVersion" in resource ? resource.apiVersion : "",
      namespace: "namespace" in resource ? resource.namespace : "",
      kind: resource.kind,
      name: resource.name,
      parents: resource.parentIds,
      health: resource.healthStatus,
      healthDescription: resource.healthDescription,
      createdAt: createdAtOrZero(resource.createdAt, snapshot),
      metadata: {},
    }));
  }
  return (snapshot.applicationLiveState?.resources ?? []).map((resource) => ({
    id: resource.id,
    // PipeCD's plugins use the same keys.
    apiVersion: resource.resourceMetadata["API Version"] ?? "",
    namespace: resource.resourceMetadata["Namespace"] ?? "",
    kind: resource.resourceType,
    name: resource.name,
    parents: resource.parentIds,
    health: resource.healthStatus,
    healthDescription: resource.healthDescription,
    createdAt: createdAtOrZero(resource.createdAt, snapshot),
    metadata: resource.resourceMetadata,
  }));
}

/** The schema requires a creation time; a resource without one has the snapshot's timestamp. */
function createdAtOrZero(createdAt: bigint, snapshot: ApplicationLiveStateSnapshot): bigint {
  return createdAt === snapshot.version?.timestamp ? 0n : createdAt;
}

/** Deeper resources are shown as roots: the depth comes from the cluster and must not exhaust the stack. */
const MAX_DEPTH = 50;

/** Resources without a known parent are roots. Each resource appears once, even if parents form a cycle. */
export function buildTree(resources: readonly Resource[]): ResourceNode[] {
  const ids = new Set(resources.map((resource) => resource.id));
  const parentOf = (resource: Resource) => resource.parents.find((id) => ids.has(id) && id !== resource.id);
  const childrenOf = groupBy(resources, parentOf);
  const visited = new Set<string>();
  const buildNodes = (siblings: readonly Resource[], depth: number): ResourceNode[] =>
    siblings.flatMap((resource) => {
      if (visited.has(resource.id) || depth === MAX_DEPTH) return [];
      visited.add(resource.id);
      return [{ resource, children: buildNodes(childrenOf.get(resource.id) ?? [], depth + 1) }];
    });
  return [...buildNodes(childrenOf.get(undefined) ?? [], 0), ...buildNodes(resources, 0)];
}
