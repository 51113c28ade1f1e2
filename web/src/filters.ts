// Filters live in the address, so that a filtered list can be shared, bookmarked and gone back to.

import type { ApplicationFilter, DeploymentFilter } from "./queries";
import { ApplicationSyncStatus } from "./schema/model/application_pb";
import { DeploymentStatus } from "./schema/model/deployment_pb";
import { ApplicationKind } from "./schema/model/kind_pb";

type NumberEnum = Record<string, string | number>;

/** `OUT_OF_SYNC` ↔ `out-of-sync`, without the prefix that the schema gives deployments. */
export function slug(names: NumberEnum, value: number): string {
  return String(names[value]).replace(/^DEPLOYMENT_/, "").toLowerCase().replaceAll("_", "-");
}

function valuesOf(names: NumberEnum): number[] {
  return Object.values(names).filter((value) => typeof value === "number");
}

function numbers<Value extends number>(params: URLSearchParams, name: string, names: NumberEnum): Value[] {
  const wanted = new Set(params.getAll(name));
  return valuesOf(names).filter((value) => wanted.has(slug(names, value))) as Value[];
}

/** Labels are written `key:value`; what has no colon or no key is left out. */
export function labelsOf(texts: readonly string[]): Record<string, string> {
  const pairs = texts.map((text) => [text.slice(0, text.indexOf(":")), text.slice(text.indexOf(":") + 1)]);
  return Object.fromEntries(
    pairs.filter((pair): pair is [string, string] => Boolean(pair[0]) && Boolean(pair[1])),
  );
}

export function isLabel(text: string): boolean {
  return /^[^:]+:.+$/.test(text);
}

export function applicationFilter(params: URLSearchParams): ApplicationFilter {
  const state = params.get("state");
  return {
    search: params.get("q") ?? "",
    kinds: numbers(params, "kind", ApplicationKind),
    syncStatuses: numbers(params, "status", ApplicationSyncStatus),
    pipedId: params.get("piped") ?? "",
    labels: labelsOf(params.getAll("label")),
    enabled: state === "enabled" ? true : state === "disabled" ? false : null,
  };
}

export function deploymentFilter(params: URLSearchParams): DeploymentFilter {
  return {
    search: params.get("q") ?? "",
    statuses: numbers(params, "status", DeploymentStatus),
    kinds: numbers(params, "kind", ApplicationKind),
    applicationId: params.get("application") ?? "",
    labels: labelsOf(params.getAll("label")),
  };
}

const FILTERS = ["q", "kind", "status", "piped", "label", "state", "application"];

export function isFiltered(params: URLSearchParams): boolean {
  return FILTERS.some((name) => params.has(name));
}

/** The address with `name` set to `values` (none removes it). A changed filter starts at the first page. */
export function withParam(params: URLSearchParams, name: string, values: readonly string[]): URLSearchParams {
  const next = new URLSearchParams(params);
  next.delete(name);
  next.delete("after");
  for (const value of values) if (value) next.append(name, value);
  return next;
}

export function withoutFilters(params: URLSearchParams): URLSearchParams {
  return FILTERS.reduce((next, name) => withParam(next, name, []), params);
}
