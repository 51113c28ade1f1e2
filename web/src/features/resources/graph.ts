// Selects what the resource tree shows: which resources are visible, which are folded into a group of siblings of the
// same kind, and which are hidden by the filter. The picture and the list of resources both show its result. Pure.

import { groupBy } from "../../group-by";
import { buildTree, type HealthCounts, type HealthName, healthName, type Resource, type ResourceNode } from "./live-state";

/** More siblings of one kind than this are shown as one group. */
export const MAX_SIBLINGS = 8;
/** Unhealthy siblings that stay visible beside their group. */
const MAX_UNHEALTHY_BESIDE_GROUP = 5;
/** A group with more members opens into smaller groups of this size. */
export const MEMBERS_PER_GROUP = 100;
/** Nodes that are visible before a user opens or closes any, and after "Expand all". */
const VISIBLE_AT_FIRST = 40;
export const VISIBLE_AT_MOST = 2_000;

/** `auto`: as many levels as fit into a picture; `all` and `none`: after "Expand all" and "Collapse all". */
export type ExpandMode = "auto" | "all" | "none";

export interface TreeFilter {
  /** Words that must all occur in a resource's kind, name or namespace. Upper and lower case are equal. */
  search: string;
  /** Health to show; empty means all. */
  health: ReadonlySet<HealthName>;
}

export interface TreeState {
  filter: TreeFilter;
  mode: ExpandMode;
  /** Nodes that a user opened (true) or closed (false) since the mode was set. */
  toggled: ReadonlyMap<string, boolean>;
}

export interface GraphNode {
  id: string;
  parentId: string | null;
  /** The resource; null for the application itself and for a group. */
  resource: Resource | null;
  /** What the node is called if it is no resource: the application's name, or the kind of a group's members. */
  label: string;
  /** For a group: the number of resources in it, without those below them. 0 otherwise. */
  members: number;
  /** Whether the node has children, shown or not. */
  expandable: boolean;
  expanded: boolean;
  /** The resources below the node. For a group also its members. */
  below: HealthCounts;
  children: GraphNode[];
}

export interface Graph {
  root: GraphNode;
  /** The root and all visible nodes, each parent before its children. */
  nodes: GraphNode[];
  /** Resources that match the filter. */
  matches: number;
}

interface Branch {
  resource: Resource;
  children: Branch[];
  /** Whether the resource itself matches the filter; otherwise only a resource below it does. */
  matches: boolean;
  /** Including the resource itself. */
  counts: HealthCounts;
}

export const isFiltering = (filter: TreeFilter): boolean => filter.search.trim() !== "" || filter.health.size > 0;

export function countHealth(resources: readonly Resource[]): HealthCounts {
  const counts = noCounts();
  for (const resource of resources) counts[healthName(resource.health)] += 1;
  return counts;
}

export const ROOT_ID = "application";
/** The ID of a resource's node. Groups have other IDs, whatever a resource is called. */
export const nodeId = (resourceId: string): string => `resource:${resourceId}`;

/** `applicationName` is the label of the root. */
export function buildGraph(applicationName: string, resources: readonly Resource[], state: TreeState): Graph {
  const matchesFilter = compileFilter(state.filter);
  const branches = buildTree(resources).flatMap((node) => toBranch(node, matchesFilter));
  const budget = new Budget(state);
  const root: GraphNode = {
    id: ROOT_ID,
    parentId: null,
    resource: null,
    label: applicationName,
    members: 0,
    expandable: branches.length > 0,
    expanded: true,
    below: sumCounts(branches),
    children: [],
  };
  openBreadthFirst(root, branches, budget);
  const nodes = flatten(root);
  return { root, nodes, matches: branches.reduce((sum, branch) => sum + countMatches(branch), 0) };
}

/** The nodes and groups that contain the resource, so that opening them makes it visible. */
export function pathTo(resources: readonly Resource[], id: string): string[] {
  const search = (nodes: readonly ResourceNode[], parentId: string): string[] | null => {
    for (const { resource, children } of nodes) {
      const containers = [parentId, groupId(parentId, resource)];
      if (resource.id === id) return containers;
      const below = search(children, nodeId(resource.id));
      if (below) return [...containers, ...below];
    }
    return null;
  };
  return search(buildTree(resources), ROOT_ID) ?? [];
}

function compileFilter({ search, health }: TreeFilter): (resource: Resource) => boolean {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  return (resource) => {
    if (health.size > 0 && !health.has(healthName(resource.health))) return false;
    const text = `${resource.kind} ${resource.namespace}/${resource.name}`.toLowerCase();
    return words.every((word) => text.includes(word));
  };
}

/** The part of the tree that the filter shows: matching resources and those above them. Empty if nothing matches. */
function toBranch({ resource, children }: ResourceNode, matchesFilter: (resource: Resource) => boolean): Branch[] {
  const below = children.flatMap((child) => toBranch(child, matchesFilter));
  const matches = matchesFilter(resource);
  if (!matches && below.length === 0) return [];
  const counts = sumCounts(below);
  counts[healthName(resource.health)] += 1;
  return [{ resource, children: below, matches, counts }];
}

const countMatches = (branch: Branch): number =>
  branch.children.reduce((sum, child) => sum + countMatches(child), branch.matches ? 1 : 0);

/** Decides which nodes are open, and bounds how many become visible by themselves. */
class Budget {
  #remaining: number;

  constructor(private readonly state: TreeState) {
    this.#remaining = state.mode === "all" ? VISIBLE_AT_MOST : VISIBLE_AT_FIRST;
  }

  opens(id: string, children: number, isGroup: boolean): boolean {
    const open = this.state.toggled.get(id) ?? this.#opensByItself(children, isGroup);
    if (open) this.#remaining -= children;
    return open;
  }

  #opensByItself(children: number, isGroup: boolean): boolean {
    const fits = children <= this.#remaining;
    if (this.state.mode === "all") return fits;
    if (isGroup) return false;
    return fits && (this.state.mode === "auto" || isFiltering(this.state.filter));
  }
}

type Entry = { node: GraphNode; branches: readonly Branch[] };

/** Adds the visible nodes below `root`, level by level, so that a bounded picture shows the upper levels. */
function openBreadthFirst(root: GraphNode, branches: readonly Branch[], budget: Budget): void {
  let level: Entry[] = [{ node: root, branches }];
  while (level.length > 0) {
    const next: Entry[] = [];
    for (const { node, branches: below } of level) {
      if (below.length === 0) continue;
      const entries = node.members > 0 ? membersOf(node, below) : childrenOf(node.id, below);
      node.expanded = node === root || budget.opens(node.id, entries.length, node.members > 0);
      if (!node.expanded) continue;
      node.children = entries.map((entry) => entry.node);
      next.push(...entries);
    }
    level = next;
  }
}

function childrenOf(parentId: string, branches: readonly Branch[]): Entry[] {
  const byKind = groupBy(branches, ({ resource }) => `${resource.apiVersion} ${resource.kind}`);
  return [...byKind.values()]
    .toSorted((a, b) => compareText(a[0]?.resource.kind, b[0]?.resource.kind))
    .flatMap((siblings) => {
      const sorted = siblings.toSorted((a, b) => compareText(a.resource.name, b.resource.name));
      if (sorted.length <= MAX_SIBLINGS) return sorted.map((branch) => resourceEntry(parentId, branch));
      const beside = sorted.filter(({ counts }) => counts.unhealthy > 0).slice(0, MAX_UNHEALTHY_BESIDE_GROUP);
      const rest = sorted.filter((branch) => !beside.includes(branch));
      return [...beside.map((branch) => resourceEntry(parentId, branch)), groupEntry(parentId, rest)];
    });
}

function membersOf(group: GraphNode, members: readonly Branch[]): Entry[] {
  if (members.length <= MEMBERS_PER_GROUP) return members.map((branch) => resourceEntry(group.id, branch));
  const parts = Math.ceil(members.length / MEMBERS_PER_GROUP);
  return Array.from({ length: parts }, (_, part) => {
    const first = part * MEMBERS_PER_GROUP;
    const entry = groupEntry(group.id, members.slice(first, first + MEMBERS_PER_GROUP), String(part));
    entry.node.label = `${group.label} ${first + 1}–${Math.min(members.length, first + MEMBERS_PER_GROUP)}`;
    return entry;
  });
}

function resourceEntry(parentId: string, { resource, children }: Branch): Entry {
  const node: GraphNode = {
    id: nodeId(resource.id),
    parentId,
    resource,
    label: resource.name,
    members: 0,
    expandable: children.length > 0,
    expanded: false,
    below: sumCounts(children),
    children: [],
  };
  return { node, branches: children };
}

function groupEntry(parentId: string, members: readonly Branch[], part = ""): Entry {
  const resource = members[0]?.resource;
  const node: GraphNode = {
    id: part ? `${parentId}/${part}` : groupId(parentId, resource),
    parentId,
    resource: null,
    label: resource?.kind ?? "",
    members: members.length,
    expandable: true,
    expanded: false,
    below: sumCounts(members),
    children: [],
  };
  return { node, branches: members };
}

const groupId = (parentId: string, member: Resource | undefined): string =>
  `group:${parentId}:${member?.apiVersion ?? ""}:${member?.kind ?? ""}`;

const compareText = (a = "", b = ""): number => a.localeCompare(b, "en", { numeric: true });

const noCounts = (): HealthCounts => ({ healthy: 0, unhealthy: 0, unknown: 0 });

function sumCounts(branches: readonly Branch[]): HealthCounts {
  const sum = noCounts();
  for (const { counts } of branches) {
    sum.healthy += counts.healthy;
    sum.unhealthy += counts.unhealthy;
    sum.unknown += counts.unknown;
  }
  return sum;
}

function flatten(root: GraphNode): GraphNode[] {
  const nodes: GraphNode[] = [];
  const pending = [root];
  for (let node = pending.pop(); node; node = pending.pop()) {
    nodes.push(node);
    pending.push(...node.children.toReversed());
  }
  return nodes;
}
