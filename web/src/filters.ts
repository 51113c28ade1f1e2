// Converts between list filters and URL parameters, so that a filtered list can be shared and bookmarked.

import { kindOf } from "./kinds";
import type { ApplicationFilter, DeploymentFilter, EventFilter } from "./queries";
import { ApplicationSyncStatus } from "./schema/model/application_pb";
import { type Deployment, DeploymentStatus } from "./schema/model/deployment_pb";
import { EventStatus } from "./schema/model/event_pb";

type NumberEnum = Record<string, string | number>;

/** The URL form of an enum value: `OUT_OF_SYNC` → `out-of-sync`, without the schema's prefix. */
export function slug(enumType: NumberEnum, value: number): string {
  return String(enumType[value]).replace(/^(DEPLOYMENT|EVENT)_/, "").toLowerCase().replaceAll("_", "-");
}

function enumValues(enumType: NumberEnum): number[] {
  return Object.values(enumType).filter((value) => typeof value === "number");
}

function parseEnum<Value extends number>(params: URLSearchParams, name: string, enumType: NumberEnum): Value[] {
  const slugs = new Set(params.getAll(name));
  return enumValues(enumType).filter((value) => slugs.has(slug(enumType, value))) as Value[];
}

const parseKinds = (params: URLSearchParams): string[] => params.getAll("kind").map((name) => name.toUpperCase());

/** Parses labels in the form `key:value`; texts without a colon, a key or a value are ignored. */
export function parseLabels(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(texts.map(splitLabel).filter(([key, value]) => key && value));
}

export function isLabel(text: string): boolean {
  const [key, value] = splitLabel(text);
  return Boolean(key) && Boolean(value);
}

function splitLabel(text: string): [string, string] {
  const colon = text.indexOf(":");
  return colon < 0 ? ["", ""] : [text.slice(0, colon).trim(), text.slice(colon + 1).trim()];
}

export function applicationFilter(params: URLSearchParams): ApplicationFilter {
  const state = params.get("state");
  return {
    search: params.get("q") ?? "",
    kinds: parseKinds(params),
    syncStatuses: parseEnum(params, "status", ApplicationSyncStatus),
    pipedId: params.get("piped") ?? "",
    labels: parseLabels(params.getAll("label")),
    enabled: state === "enabled" ? true : state === "disabled" ? false : null,
  };
}

export function deploymentFilter(params: URLSearchParams): DeploymentFilter {
  return {
    search: params.get("q") ?? "",
    statuses: parseEnum(params, "status", DeploymentStatus),
    kinds: parseKinds(params),
    applicationId: params.get("application") ?? "",
    labels: parseLabels(params.getAll("label")),
  };
}

/** Whether a list with the filter has the deployment, as the control plane selects; its status is not considered. */
export function matchesFilter(deployment: Deployment, filter: DeploymentFilter): boolean {
  const { search, kinds, applicationId, labels } = filter;
  const name = deployment.applicationName.toLowerCase();
  return (
    search.toLowerCase().split(/\s+/).every((word) => name.includes(word)) &&
    (kinds.length === 0 || kinds.includes(kindOf(deployment))) &&
    (applicationId === "" || deployment.applicationId === applicationId) &&
    Object.entries(labels).every(([key, value]) => deployment.labels[key] === value)
  );
}

export function eventFilter(params: URLSearchParams): EventFilter {
  return {
    search: params.get("q") ?? "",
    statuses: parseEnum(params, "status", EventStatus),
    labels: parseLabels(params.getAll("label")),
  };
}

const FILTER_PARAMS = ["q", "kind", "status", "piped", "label", "state", "application", "by", "object", "change", "from", "to", "actor", "id"];

export function isFiltered(params: URLSearchParams): boolean {
  return FILTER_PARAMS.some((name) => params.has(name));
}

/** The parameters with `name` set to `values` (none removes it), and reset to the first page. */
export function withParam(params: URLSearchParams, name: string, values: readonly string[]): URLSearchParams {
  const next = new URLSearchParams(params);
  next.delete(name);
  next.delete("after");
  for (const value of values) if (value) next.append(name, value);
  return next;
}

export function withoutFilters(params: URLSearchParams): URLSearchParams {
  return FILTER_PARAMS.reduce((next, name) => withParam(next, name, []), params);
}
