// The rights that pages need. Navigation, shortcuts and the command palette leave out what the user's roles do not
// include, and the layout shows a sentence instead of such a page.

import type { DescMethod } from "@bufbuild/protobuf";
import { matchPath } from "react-router";

import type { May } from "./rights";
import { ConsoleService } from "./schema/pipecd/v1/console_pb";
import { WebService } from "./schema/web/service_pb";

export interface PageRight {
  /** Of the route in `routes.tsx`. */
  path: string;
  title: string;
  /** The calls that the page is about; one that the user may make suffices. */
  needs: readonly DescMethod[];
}

const { method: web } = WebService;
const { method: ours } = ConsoleService;

/** Pages that are not listed are for every user. A page comes before those whose path also matches its address. */
export const PAGE_RIGHTS: readonly PageRight[] = [
  { path: "/applications", title: "Applications", needs: [ours.pageApplications] },
  { path: "/applications/add", title: "Add application", needs: [web.addApplication] },
  { path: "/applications/:id", title: "Application", needs: [web.getApplication] },
  { path: "/deployments", title: "Deployments", needs: [ours.pageDeployments] },
  { path: "/deployments/:id", title: "Deployment", needs: [web.getDeployment] },
  { path: "/compare", title: "Compare deployments", needs: [web.getDeployment] },
  { path: "/attention", title: "Needs attention", needs: [ours.pageDeployments, ours.pageApplications, web.listPipeds] },
  { path: "/chains", title: "Chains", needs: [web.listDeploymentChains] },
  { path: "/chains/:id", title: "Chain", needs: [web.getDeploymentChain] },
  { path: "/traces", title: "Traces", needs: [web.listDeploymentTraces] },
  { path: "/events", title: "Events", needs: [web.listEvents] },
  { path: "/insights", title: "Insights", needs: [ours.getInsights] },
  { path: "/pipeds", title: "Pipeds", needs: [web.listPipeds] },
  { path: "/api-keys", title: "API keys", needs: [web.listAPIKeys] },
  { path: "/settings", title: "Settings", needs: [ours.seeProject] },
  { path: "/audit-log", title: "Audit log", needs: [ours.listAudit] },
];

/** The pages of the navigation, in order. */
export const NAVIGATION = [
  "/applications",
  "/deployments",
  "/attention",
  "/chains",
  "/traces",
  "/events",
  "/insights",
  "/pipeds",
  "/api-keys",
  "/settings",
  "/audit-log",
] as const;

/** The first page of the navigation that the user's roles include; if there is none, the one that says why. */
export function firstPage(may: May): string {
  return NAVIGATION.find((path) => !forbiddenPage(may, path)) ?? "/applications";
}

/** The page at the address, if the user's roles do not include it. */
export function forbiddenPage(may: May, pathname: string): PageRight | undefined {
  const page = PAGE_RIGHTS.find(({ path }) => matchPath(path, pathname));
  return page && !page.needs.some((method) => may(method)) ? page : undefined;
}
