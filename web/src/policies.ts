// Policies of a role as text, in PipeCD's format, and back:
//
//   resources=application{env:dev,team:a},deployment;actions=get,list
//
// An empty line separates policies. White space is ignored.

import { InvalidField } from "./field-errors";
import { ProjectRBACPolicy_Action as Action, ProjectRBACResource_ResourceType as Resource } from "./schema/model/access_pb";

export interface PolicyText {
  resources: { type: Resource; labels: Record<string, string> }[];
  actions: Action[];
}

const RESOURCES: Record<string, Resource> = {
  "*": Resource.ALL,
  application: Resource.APPLICATION,
  deployment: Resource.DEPLOYMENT,
  event: Resource.EVENT,
  piped: Resource.PIPED,
  deploymentChain: Resource.DEPLOYMENT_CHAIN,
  project: Resource.PROJECT,
  apiKey: Resource.API_KEY,
  insight: Resource.INSIGHT,
  containerLog: Resource.CONTAINER_LOG,
  auditLog: Resource.AUDIT_LOG,
};
const ACTIONS: Record<string, Action> = {
  "*": Action.ALL,
  get: Action.GET,
  list: Action.LIST,
  create: Action.CREATE,
  update: Action.UPDATE,
  delete: Action.DELETE,
};

export const RESOURCE_NAMES = Object.keys(RESOURCES);
export const ACTION_NAMES = Object.keys(ACTIONS);

const nameOf = <Value extends number>(names: Record<string, Value>, value: Value): string =>
  Object.keys(names).find((name) => names[name] === value) ?? String(value);

export function formatPolicies(policies: readonly PolicyText[]): string {
  return policies.map(formatPolicy).join("\n\n");
}

export function formatPolicy({ resources, actions }: PolicyText): string {
  const texts = resources.map(({ type, labels }) => {
    const pairs = Object.entries(labels).map(([key, value]) => `${key}:${value}`);
    return nameOf(RESOURCES, type) + (pairs.length > 0 ? `{${pairs.join(",")}}` : "");
  });
  return `resources=${texts.join(",")};actions=${actions.map((action) => nameOf(ACTIONS, action)).join(",")}`;
}

/** Throws an InvalidField that says which policy is wrong, and why: unlike in PipeCD, none is left out silently. */
export function parsePolicies(text: string): PolicyText[] {
  const blocks = text.split(/\n[ \t]*\n/).map((block) => block.replaceAll(/\s+/g, "")).filter(Boolean);
  if (blocks.length === 0) throw new InvalidField("policies", "Write at least one policy.");
  return blocks.map((block, index) => {
    try {
      return parsePolicy(block);
    } catch (error) {
      const { message } = error as Error;
      throw new InvalidField("policies", blocks.length > 1 ? `Policy ${index + 1}: ${message}` : message);
    }
  });
}

function parsePolicy(block: string): PolicyText {
  const match = /^resources=([^;]+);actions=([^;]+?);?$/.exec(block);
  if (!match?.[1] || !match[2]) throw new SyntaxError("write it as resources=…;actions=…");
  return { resources: splitResources(match[1]).map(parseResource), actions: match[2].split(",").map(parseAction) };
}

/** Splits at the commas that are not between braces. */
function splitResources(text: string): string[] {
  return text.match(/(?:[^,{}]|\{[^{}]*\})+|[{}]/g) ?? [];
}

function parseResource(text: string): PolicyText["resources"][number] {
  const match = /^([^{}]+)(?:\{([^{}]*)\})?$/.exec(text);
  const type = RESOURCES[match?.[1] ?? ""];
  if (!match || type === undefined) {
    throw new SyntaxError(`${text} is not a resource; use one of ${RESOURCE_NAMES.join(", ")}`);
  }
  const labels: Record<string, string> = {};
  for (const pair of match[2] === undefined ? [] : match[2].split(",")) {
    const colon = pair.indexOf(":");
    if (colon < 1 || colon === pair.length - 1) throw new SyntaxError(`${pair || "an empty label"} is not a label like env:dev`);
    labels[pair.slice(0, colon)] = pair.slice(colon + 1);
  }
  return { type, labels };
}

function parseAction(text: string): Action {
  const action = ACTIONS[text];
  if (action === undefined) throw new SyntaxError(`${text || "nothing"} is not an action; use some of ${ACTION_NAMES.join(", ")}`);
  return action;
}
