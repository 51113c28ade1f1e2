// The search parameters that pages read from their address, and which values they know. A link may be old, or changed on
// its way: the layout says which values are left out. Values that name a record, such as a stage or a page of a list, are
// checked where the record is read.

import { matchPath } from "react-router";

import { isLabel, slug } from "./filters";
import { BUCKETS, RANGES } from "./insights";
import { ApplicationSyncStatus } from "./schema/model/application_pb";
import { DeploymentStatus } from "./schema/model/deployment_pb";
import { EventStatus } from "./schema/model/event_pb";

type Known = (value: string) => boolean;

const anything: Known = () => true;
const oneOf = (...values: readonly string[]): Known => (value) => values.includes(value);
const slugsOf = (enumType: Record<string, string | number>): string[] =>
  Object.values(enumType).filter((value) => typeof value === "number").map((value) => slug(enumType, value));
/** Whether it is a day, such as 2026-11-28. */
export const isDay: Known = (value) => /^\d{4}-\d{2}-\d{2}$/.test(value) && !Number.isNaN(Date.parse(value));
const line: Known = (value) => value === "error" || /^[1-9]\d{0,14}$/.test(value);

/** Not a status of the control plane: the deployments that run and wait for an approval. */
export const WAITING = "waiting-for-approval";

/** Of whom the audit log has entries, of which changes, and of what. */
export const AUDIT = {
  by: ["person", "api_key", "operator", "piped", "job"],
  change: ["create", "update", "delete", "refuse"],
};

const list = { q: anything, label: isLabel, after: anything };

/** Path of the route in `routes.tsx` → parameter → whether the page knows a value. */
export const PAGE_PARAMS: Readonly<Record<string, Readonly<Record<string, Known>>>> = {
  "/applications/add": {},
  "/applications": {
    ...list,
    kind: anything,
    piped: anything,
    status: oneOf(...slugsOf(ApplicationSyncStatus)),
    state: oneOf("enabled", "disabled"),
  },
  "/applications/:id": { view: oneOf("tree", "list"), resource: anything, after: anything },
  "/deployments": { ...list, kind: anything, application: anything, status: oneOf(WAITING, ...slugsOf(DeploymentStatus)) },
  "/deployments/:id": { stage: anything, log: oneOf("all"), line },
  "/compare": { from: anything, to: anything, stage: anything },
  "/chains": { after: anything },
  "/traces": { commit: anything, after: anything },
  "/events": { ...list, status: oneOf(...slugsOf(EventStatus)) },
  "/insights": {
    range: oneOf(...RANGES.map(({ days }) => String(days))),
    bucket: oneOf(...BUCKETS.map(({ value }) => value)),
    application: anything,
    kind: anything,
    label: isLabel,
  },
  "/pipeds": { register: anything },
  "/api-keys": { register: anything },
  "/audit-log": {
    q: anything,
    by: oneOf(...AUDIT.by),
    change: oneOf(...AUDIT.change),
    object: anything,
    actor: anything,
    id: anything,
    from: isDay,
    to: isDay,
    after: anything,
  },
  "/sessions": { users: oneOf("all") },
};

/** A parameter of the address with a value that the page does not know. */
export interface UnknownParam {
  name: string;
  value: string;
}

export function unknownParams(pathname: string, params: URLSearchParams): UnknownParam[] {
  const path = Object.keys(PAGE_PARAMS).find((candidate) => matchPath(candidate, pathname));
  const known = (path && PAGE_PARAMS[path]) || {};
  return [...params]
    .filter(([name, value]) => Object.hasOwn(known, name) && !known[name]?.(value))
    .map(([name, value]) => ({ name, value }));
}

export function withoutUnknown(params: URLSearchParams, unknown: readonly UnknownParam[]): URLSearchParams {
  const next = new URLSearchParams(params);
  for (const { name, value } of unknown) next.delete(name, value);
  return next;
}
