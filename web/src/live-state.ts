// What runs of an application, as a tree: PipeCD has a list for some platforms, and one for all others.

import type { ApplicationLiveStateSnapshot } from "./schema/model/live_state_pb";
import { ApplicationLiveStateSnapshot_Status as Status } from "./schema/model/live_state_pb";
import type { Word } from "./words";

export interface Resource {
  id: string;
  kind: string;
  name: string;
  parents: readonly string[];
  /** UNKNOWN, HEALTHY or OTHER: the same numbers in every list. */
  health: number;
  why: string;
  since: bigint;
}

export interface Branch {
  resource: Resource;
  depth: number;
}

const WORDS: Record<Status, Word> = {
  [Status.UNKNOWN]: { text: "Unknown", tone: "quiet" },
  [Status.HEALTHY]: { text: "Healthy", tone: "good" },
  [Status.OTHER]: { text: "Unhealthy", tone: "bad" },
  [Status.UNHEALTHY]: { text: "Unhealthy", tone: "bad" },
};

export function healthWord(health: number): Word {
  return WORDS[health as Status] ?? WORDS[Status.UNKNOWN];
}

export function resourcesOf(snapshot: ApplicationLiveStateSnapshot): Resource[] {
  const listed =
    snapshot.kubernetes?.resources ??
    snapshot.cloudrun?.resources ??
    snapshot.lambda?.resources ??
    snapshot.ecs?.resources;
  if (listed) {
    return listed.map((each) => ({
      id: each.id,
      kind: each.kind,
      name: each.name,
      parents: each.parentIds,
      health: each.healthStatus,
      why: each.healthDescription,
      since: each.createdAt,
    }));
  }
  return (snapshot.applicationLiveState?.resources ?? []).map((each) => ({
    id: each.id,
    kind: each.resourceType,
    name: each.name,
    parents: each.parentIds,
    health: each.healthStatus,
    why: each.healthDescription,
    since: each.createdAt,
  }));
}

/** Children follow their parent. What names a parent that is not there stands at the root; each stands once. */
export function treeOf(resources: readonly Resource[]): Branch[] {
  const known = new Set(resources.map((each) => each.id));
  const below = new Map<string, Resource[]>();
  for (const each of resources) {
    const parent = each.parents.find((id) => known.has(id) && id !== each.id) ?? "";
    below.set(parent, [...(below.get(parent) ?? []), each]);
  }
  const branches: Branch[] = [];
  const seen = new Set<string>();
  const add = (resource: Resource, depth: number) => {
    if (seen.has(resource.id)) return;
    seen.add(resource.id);
    branches.push({ resource, depth });
    for (const each of below.get(resource.id) ?? []) add(each, depth + 1);
  };
  for (const each of below.get("") ?? []) add(each, 0);
  for (const each of resources) add(each, 0);
  return branches;
}
