// What the user's roles allow. Each call of the control plane needs a right, which the schema names (`model.rbac`); the
// control plane says which rights the user has, on all records or on those with certain labels. It checks every call itself.

import { type DescMethod, getOption } from "@bufbuild/protobuf";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";

import {
  type ProjectRBACPolicy_Action as Action,
  type ProjectRBACResource_ResourceType as Resource,
  rbac,
  type RBAC,
} from "./schema/model/access_pb";
import { ConsoleService, type SeeRightsResponse } from "./schema/pipecd/v1/console_pb";

type Labels = Readonly<Record<string, string>>;

export interface Right {
  resource: Resource;
  action: Action;
  /** On which records: those with all labels of one of these. Empty means on all records. */
  conditions: readonly Labels[];
}

/** An application, a deployment or an event. */
interface Labelled {
  labels: Labels;
}

/** Whether the user may make a call about a record; without a record, about any record at all. */
export type May = (method: DescMethod, record?: Labelled) => boolean;

export function rightsOf({ rights }: SeeRightsResponse): readonly Right[] {
  return rights.map(({ resource, action, conditions }) => ({
    resource,
    action,
    conditions: conditions.map(({ labels }) => ({ ...labels })),
  }));
}

const needed = new WeakMap<DescMethod, RBAC>();

/** The right that a call needs. */
export function neededRight(method: DescMethod): RBAC {
  let right = needed.get(method);
  if (!right) needed.set(method, (right = getOption(method, rbac)));
  return right;
}

const hasLabels = (record: Labelled, labels: Labels): boolean =>
  Object.entries(labels).every(([name, value]) => record.labels[name] === value);

export function mayWith(rights: readonly Right[]): May {
  return (method, record) => {
    const { resource, action, ignored } = neededRight(method);
    if (ignored) return true;
    const right = rights.find((candidate) => candidate.resource === resource && candidate.action === action);
    if (!right) return false;
    return !record || right.conditions.length === 0 || right.conditions.some((labels) => hasLabels(record, labels));
  };
}

/**
 * Refuses calls that the user's roles never allow, without sending them: the control plane records each call that it
 * refuses in the audit log. It reads the rights from the response that the console requests anyway; until then it
 * sends every call.
 */
export function refuseForbiddenCalls(): Interceptor {
  let may: May | null = null;
  return (next) => async (request) => {
    if (may && !may(request.method)) throw new ConnectError("", Code.PermissionDenied);
    try {
      const response = await next(request);
      if (!response.stream && request.method === ConsoleService.method.seeRights) {
        may = mayWith(rightsOf(response.message as SeeRightsResponse));
      }
      return response;
    } catch (error) {
      // Another user may sign in.
      if (ConnectError.from(error).code === Code.Unauthenticated) may = null;
      throw error;
    }
  };
}
