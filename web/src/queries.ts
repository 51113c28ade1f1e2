// Everything the console asks for, by name. `live` knows which change makes which of these stale.

import { type QueryClient, queryOptions } from "@tanstack/react-query";

import { board, isSignedOut, web } from "./api";
import type { ApplicationSyncStatus } from "./schema/model/application_pb";
import type { DeploymentStatus } from "./schema/model/deployment_pb";
import type { ApplicationKind } from "./schema/model/kind_pb";

export interface ApplicationFilter {
  search: string;
  kinds: ApplicationKind[];
  syncStatuses: ApplicationSyncStatus[];
  pipedId: string;
  labels: Record<string, string>;
  enabled: boolean | null;
}

export interface DeploymentFilter {
  search: string;
  statuses: DeploymentStatus[];
  kinds: ApplicationKind[];
  applicationId: string;
  labels: Record<string, string>;
}

export const APPLICATIONS_A_PAGE = 50;
export const DEPLOYMENTS_A_PAGE = 40;

export const key = {
  me: ["me"] as const,
  applications: ["applications"] as const,
  glance: ["glance"] as const,
  application: (id: string) => ["application", id] as const,
  liveState: (id: string) => ["live state", id] as const,
  deployments: ["deployments"] as const,
  deployment: (id: string) => ["deployment", id] as const,
  command: (id: string) => ["command", id] as const,
  pipeds: ["pipeds"] as const,
  apiKeys: ["api-keys"] as const,
  suggestions: ["suggestions"] as const,
  quickstart: ["quickstart"] as const,
};

/** Who is signed in; null when nobody is. */
export const meQuery = queryOptions({
  queryKey: key.me,
  queryFn: async ({ signal }) => {
    try {
      return await web.getMe({}, { signal });
    } catch (error) {
      if (isSignedOut(error)) return null;
      throw error;
    }
  },
  staleTime: 60_000,
});

export function forgetUser(client: QueryClient): void {
  client.setQueryData(key.me, null);
}

const asked = (filter: ApplicationFilter) => ({
  search: filter.search,
  kinds: filter.kinds,
  pipedId: filter.pipedId,
  labels: filter.labels,
  onlyEnabled: filter.enabled === true,
  onlyDisabled: filter.enabled === false,
});

export const applicationsQuery = (filter: ApplicationFilter, cursor: string) =>
  queryOptions({
    queryKey: [...key.applications, filter, cursor],
    queryFn: ({ signal }) =>
      board.pageApplications(
        { ...asked(filter), syncStatuses: filter.syncStatuses, pageSize: APPLICATIONS_A_PAGE, cursor },
        { signal },
      ),
    placeholderData: (before) => before,
  });

/** How many applications are in each of `statuses`, whatever status the filter itself asks for. */
export const glanceQuery = (filter: ApplicationFilter, statuses: readonly ApplicationSyncStatus[]) =>
  queryOptions({
    queryKey: [...key.glance, { ...filter, syncStatuses: [] }],
    queryFn: async ({ signal }) => {
      const count = async (syncStatuses: ApplicationSyncStatus[]) => {
        const page = await board.pageApplications({ ...asked(filter), syncStatuses, pageSize: 1 }, { signal });
        return Number(page.total);
      };
      const [total, ...each] = await Promise.all([count([]), ...statuses.map((status) => count([status]))]);
      return { total: total ?? 0, each };
    },
    placeholderData: (before) => before,
  });

export const applicationQuery = (id: string) =>
  queryOptions({
    queryKey: key.application(id),
    queryFn: async ({ signal }) => {
      const answer = await web.getApplication({ applicationId: id }, { signal });
      return answer.application ?? null;
    },
  });

/** What runs of an application; null where its piped has told nothing. */
export const liveStateQuery = (id: string) =>
  queryOptions({
    queryKey: key.liveState(id),
    queryFn: async ({ signal }) => (await board.seeLiveState({ applicationId: id }, { signal })).snapshot ?? null,
  });

export const deploymentsQuery = (filter: DeploymentFilter, cursor: string, pageSize = DEPLOYMENTS_A_PAGE) =>
  queryOptions({
    queryKey: [...key.deployments, filter, cursor, pageSize],
    queryFn: ({ signal }) => board.pageDeployments({ ...filter, pageSize, cursor }, { signal }),
    placeholderData: (before) => before,
  });

export const deploymentQuery = (id: string) =>
  queryOptions({
    queryKey: key.deployment(id),
    queryFn: async ({ signal }) => {
      const answer = await web.getDeployment({ deploymentId: id }, { signal });
      return answer.deployment ?? null;
    },
  });

export const commandQuery = (id: string) =>
  queryOptions({
    queryKey: key.command(id),
    queryFn: async ({ signal }) => {
      const answer = await web.getCommand({ commandId: id }, { signal });
      return answer.command ?? null;
    },
  });

export const pipedsQuery = queryOptions({
  queryKey: key.pipeds,
  queryFn: async ({ signal }) => {
    const answer = await web.listPipeds({ withStatus: true }, { signal });
    return answer.pipeds.toSorted((one, other) => one.name.localeCompare(other.name));
  },
});

/** Versions that fit this control plane. */
export const releasesQuery = queryOptions({
  queryKey: ["releases"],
  queryFn: async ({ signal }) => (await web.listReleasedVersions({}, { signal })).versions,
  staleTime: Infinity,
});

/** When each piped was last heard of, in seconds since 1970. */
export const lastSeenQuery = queryOptions({
  queryKey: [...key.pipeds, "last seen"],
  queryFn: async ({ signal }) => (await board.seePipeds({}, { signal })).lastSeen,
});

export const apiKeysQuery = queryOptions({
  queryKey: key.apiKeys,
  queryFn: async ({ signal }) => (await web.listAPIKeys({}, { signal })).keys,
});

export const suggestionsQuery = queryOptions({
  queryKey: key.suggestions,
  queryFn: async ({ signal }) => (await web.listUnregisteredApplications({}, { signal })).applications,
});

export interface Quickstart {
  remote: string;
  clone: string;
  steps: { title: string; commands: string[] }[];
}

/** What a newcomer may try next; null where the server is no quickstart. */
export const quickstartQuery = queryOptions({
  queryKey: key.quickstart,
  queryFn: async ({ signal }): Promise<Quickstart | null> => {
    const answer = await fetch("/quickstart.json", { signal });
    const isJson = answer.headers.get("content-type")?.startsWith("application/json");
    return answer.ok && isJson ? ((await answer.json()) as Quickstart) : null;
  },
  staleTime: Infinity,
});
