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
  /** Seconds since 1970; 0 where the platform does not tell. */
  since: bigint;
}

export interface Branch {
  resource: Resource;
  below: Branch[];
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
      since: since(each.createdAt, snapshot),
    }));
  }
  return (snapshot.applicationLiveState?.resources ?? []).map((each) => ({
    id: each.id,
    kind: each.resourceType,
    name: each.name,
    parents: each.parentIds,
    health: each.healthStatus,
    why: each.healthDescription,
    since: since(each.createdAt, snapshot),
  }));
}

/** The wire requires a time: what has none was given the snapshot's own. */
function since(createdAt: bigint, snapshot: ApplicationLiveStateSnapshot): bigint {
  return createdAt === snapshot.version?.timestamp ? 0n : createdAt;
}

/** What names a parent that is not there stands at the root; each stands once, even where parents go in a circle. */
export function treeOf(resources: readonly Resource[]): Branch[] {
  const known = new Set(resources.map((each) => each.id));
  const children = new Map<string, Resource[]>();
  for (const each of resources) {
    const parent = each.parents.find((id) => known.has(id) && id !== each.id) ?? "";
    children.set(parent, [...(children.get(parent) ?? []), each]);
  }
  const seen = new Set<string>();
  const grow = (among: readonly Resource[]): Branch[] =>
    among.flatMap((resource) => {
      if (seen.has(resource.id)) return [];
      seen.add(resource.id);
      return [{ resource, below: grow(children.get(resource.id) ?? []) }];
    });
  return [...grow(children.get("") ?? []), ...grow(resources)];
}
