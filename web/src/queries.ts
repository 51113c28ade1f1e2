// Every query of the console. `affectedQueries` in live.ts maps changes to the queries they make stale.
//
// The placeholder of a list is its page before, unless that has no records: what is said about an empty list, such as that
// no record matches, is not true of the next one.

import { type QueryClient, type QueryKey, queryOptions } from "@tanstack/react-query";

import { consoleClient, isUnauthenticated, type Refusal, refusalOf, webClient } from "./api";
import { type InsightFilter, insightRange } from "./insights";
import { rightsOf } from "./rights";
import type { ApplicationSyncStatus } from "./schema/model/application_pb";
import { DeploymentStatus } from "./schema/model/deployment_pb";
import type { EventStatus } from "./schema/model/event_pb";

export interface ApplicationFilter {
  search: string;
  kinds: string[];
  syncStatuses: ApplicationSyncStatus[];
  pipedId: string;
  labels: Record<string, string>;
  enabled: boolean | null;
}

export interface DeploymentFilter {
  search: string;
  statuses: DeploymentStatus[];
  kinds: string[];
  applicationId: string;
  labels: Record<string, string>;
}

export interface EventFilter {
  search: string;
  statuses: EventStatus[];
  labels: Record<string, string>;
}

export const APPLICATIONS_PER_PAGE = 50;
export const EVENTS_PER_PAGE = 40;
export const DEPLOYMENTS_PER_PAGE = 40;

export const key = {
  me: ["me"] as const,
  rights: ["rights"] as const,
  sessions: ["sessions"] as const,
  applications: ["applications"] as const,
  application: (id: string) => ["application", id] as const,
  liveState: (id: string) => ["live-state", id] as const,
  resources: (applicationId: string) => ["resources", applicationId] as const,
  deployments: ["deployments"] as const,
  deployment: (id: string) => ["deployment", id] as const,
  chains: ["chains"] as const,
  traces: ["traces"] as const,
  command: (id: string) => ["command", id] as const,
  pipeds: ["pipeds"] as const,
  events: ["events"] as const,
  apiKeys: ["api-keys"] as const,
  audit: ["audit"] as const,
  project: ["project"] as const,
  suggestions: ["suggestions"] as const,
  insights: ["insights"] as const,
  quickstart: ["quickstart"] as const,
};

/** The signed-in user; null if there is none. */
export const meQuery = queryOptions({
  queryKey: key.me,
  queryFn: async ({ signal }) => {
    try {
      return await webClient.getMe({}, { signal });
    } catch (error) {
      if (isUnauthenticated(error)) return null;
      throw error;
    }
  },
  staleTime: 60_000,
});

/** What the roles of the user allow. */
export const rightsQuery = queryOptions({
  queryKey: key.rights,
  queryFn: async ({ signal }) => rightsOf(await consoleClient.seeRights({}, { signal })),
  staleTime: 60_000,
});

/** The control plane says that no user is signed in. `Session` then loads the page again. */
export function clearUser(client: QueryClient): void {
  client.setQueryData(key.me, null);
}

const filterFields = (filter: ApplicationFilter) => ({
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
      consoleClient.pageApplications(
        { ...filterFields(filter), syncStatuses: filter.syncStatuses, pageSize: APPLICATIONS_PER_PAGE, cursor },
        { signal },
      ),
    placeholderData: (previous) => previous,
  });

/** A record, or why the control plane does not return it. */
export interface Answer<Value> {
  record?: Value | undefined;
  refusal?: Refusal | undefined;
}

/** A refusal replaces the record that was returned before: it is no longer shown, also if later requests fail. */
function recordQuery<Value>(queryKey: QueryKey, request: (signal: AbortSignal) => Promise<Value | undefined>) {
  return queryOptions({
    queryKey,
    queryFn: async ({ signal }): Promise<Answer<Value>> => {
      try {
        const record = await request(signal);
        return record ? { record } : { refusal: { reason: "unknown", message: "" } };
      } catch (error) {
        const refusal = refusalOf(error);
        if (!refusal) throw error;
        return { refusal };
      }
    },
  });
}

export const applicationQuery = (id: string) =>
  recordQuery(
    key.application(id),
    async (signal) => (await webClient.getApplication({ applicationId: id }, { signal })).application,
  );

/** The live state of an application; null if its piped has not reported one. */
export const liveStateQuery = (id: string) =>
  queryOptions({
    queryKey: key.liveState(id),
    queryFn: async ({ signal }) => {
      const response = await consoleClient.seeLiveState({ applicationId: id }, { signal });
      return response.snapshot ?? null;
    },
  });

/** One resource of the live state, as the agent reads it now. */
export const resourceQuery = (applicationId: string, resourceId: string) =>
  queryOptions({
    queryKey: [...key.resources(applicationId), resourceId],
    queryFn: ({ signal }) => consoleClient.seeResource({ applicationId, resourceId }, { signal }),
    retry: false,
  });

export const deploymentsQuery = (filter: DeploymentFilter, cursor: string, pageSize = DEPLOYMENTS_PER_PAGE) =>
  queryOptions({
    queryKey: [...key.deployments, filter, cursor, pageSize],
    queryFn: ({ signal }) => consoleClient.pageDeployments({ ...filter, pageSize, cursor }, { signal }),
    placeholderData: (previous) => (previous?.deployments.length ? previous : undefined),
  });

/** The deployments of an application that have begun and not ended. */
export const unfinishedDeploymentsQuery = (applicationId: string) =>
  queryOptions({
    queryKey: [...key.deployments, "unfinished", applicationId],
    queryFn: async ({ signal }) => {
      const statuses = [
        DeploymentStatus.DEPLOYMENT_PENDING,
        DeploymentStatus.DEPLOYMENT_PLANNED,
        DeploymentStatus.DEPLOYMENT_RUNNING,
        DeploymentStatus.DEPLOYMENT_ROLLING_BACK,
      ];
      return (await consoleClient.pageDeployments({ applicationId, statuses, pageSize: 20 }, { signal })).deployments;
    },
  });

/** The deployments of the project that run, among them those that wait for an approval. */
export const runningDeploymentsQuery = queryOptions({
  queryKey: [...key.deployments, "running"],
  queryFn: async ({ signal }) => {
    const request = { statuses: [DeploymentStatus.DEPLOYMENT_RUNNING], pageSize: 200 };
    return (await consoleClient.pageDeployments(request, { signal })).deployments;
  },
});

/** The newest deployments of the project in any state, among them those that have just ended. */
export const recentDeploymentsQuery = queryOptions({
  queryKey: [...key.deployments, "recent"],
  queryFn: async ({ signal }) => (await consoleClient.pageDeployments({ pageSize: 100 }, { signal })).deployments,
});

/** The deployments that failed and are the last one of their application, newest first. */
export const lastFailedDeploymentsQuery = queryOptions({
  queryKey: [...key.deployments, "last-failed"],
  queryFn: async ({ signal }) => {
    const request = { statuses: [DeploymentStatus.DEPLOYMENT_FAILURE], onlyLast: true, pageSize: 100 };
    return (await consoleClient.pageDeployments(request, { signal })).deployments;
  },
});

/** The applications that the command palette finds. */
export const foundApplicationsQuery = (search: string) =>
  queryOptions({
    queryKey: [...key.applications, "palette", search],
    queryFn: async ({ signal }) => (await consoleClient.pageApplications({ search, pageSize: 8 }, { signal })).applications,
    placeholderData: (previous) => previous,
  });

/** The deployments that the command palette finds. */
export const foundDeploymentsQuery = (search: string) =>
  queryOptions({
    queryKey: [...key.deployments, "palette", search],
    queryFn: async ({ signal }) => (await consoleClient.pageDeployments({ search, pageSize: 5 }, { signal })).deployments,
    placeholderData: (previous) => previous,
  });

export const deploymentQuery = (id: string) =>
  recordQuery(
    key.deployment(id),
    async (signal) => (await webClient.getDeployment({ deploymentId: id }, { signal })).deployment,
  );

export const eventsQuery = (filter: EventFilter, cursor: string) =>
  queryOptions({
    queryKey: [...key.events, filter, cursor],
    queryFn: ({ signal }) => webClient.listEvents({ options: filter, pageSize: EVENTS_PER_PAGE, cursor }, { signal }),
    placeholderData: (previous) => (previous?.events.length ? previous : undefined),
  });

const CHAINS_PER_PAGE = 20;

export const chainsQuery = (cursor: string) =>
  queryOptions({
    queryKey: [...key.chains, "page", cursor],
    queryFn: ({ signal }) => webClient.listDeploymentChains({ pageSize: CHAINS_PER_PAGE, cursor }, { signal }),
    placeholderData: (previous) => (previous?.deploymentChains.length ? previous : undefined),
  });

export const chainQuery = (id: string) =>
  recordQuery(
    [...key.chains, "one", id],
    async (signal) => (await webClient.getDeploymentChain({ deploymentChainId: id }, { signal })).deploymentChain,
  );

/** Source commits with the deployments they caused; only of one commit unless `commitHash` is empty. */
export const tracesQuery = (commitHash: string, cursor: string) =>
  queryOptions({
    queryKey: [...key.traces, commitHash, cursor],
    queryFn: ({ signal }) =>
      webClient.listDeploymentTraces({ options: { commitHash }, pageSize: CHAINS_PER_PAGE, cursor }, { signal }),
    placeholderData: (previous) => (previous?.traces.length ? previous : undefined),
  });

export const commandQuery = (id: string) =>
  queryOptions({
    queryKey: key.command(id),
    queryFn: async ({ signal }) => {
      const response = await webClient.getCommand({ commandId: id }, { signal });
      return response.command ?? null;
    },
  });

export const pipedsQuery = queryOptions({
  queryKey: key.pipeds,
  queryFn: async ({ signal }) => {
    const response = await webClient.listPipeds({ withStatus: true }, { signal });
    return response.pipeds.toSorted((a, b) => a.name.localeCompare(b.name));
  },
});

/** Released piped versions that are compatible with this control plane. */
export const releasesQuery = queryOptions({
  queryKey: ["releases"],
  queryFn: async ({ signal }) => (await webClient.listReleasedVersions({}, { signal })).versions,
  staleTime: Infinity,
});

/**
 * When each piped last contacted the control plane (`lastSeen`, in seconds since 1970), and the IDs of those that are
 * connected, but whose program does not respond (`notResponding`).
 */
export const presenceQuery = queryOptions({
  queryKey: [...key.pipeds, "presence"],
  queryFn: ({ signal }) => consoleClient.seePipeds({}, { signal }),
});

/** The receivers of a piped's notifications. They change without a notice: they are read again while shown. */
export const receiversQuery = (pipedId: string) =>
  queryOptions({
    queryKey: [...key.pipeds, "receivers", pipedId],
    queryFn: async ({ signal }) => (await consoleClient.listReceivers({ pipedId }, { signal })).receivers,
    refetchInterval: 3000,
  });

/** The receivers of the project: those that are notified when a piped is offline. */
export const projectReceiversQuery = queryOptions({
  queryKey: [...key.project, "receivers"],
  queryFn: ({ signal }) => consoleClient.listProjectReceivers({}, { signal }),
  refetchInterval: 5000,
});

export const apiKeysQuery = queryOptions({
  queryKey: key.apiKeys,
  queryFn: async ({ signal }) => (await webClient.listAPIKeys({}, { signal })).keys,
});

/** Where agents, pipectl and CI reach the control plane. */
export interface Endpoint {
  host: string;
  port: number;
  /** Without TLS. */
  plaintext: boolean;
}

export const endpointQuery = queryOptions({
  queryKey: ["endpoint"],
  queryFn: async ({ signal }): Promise<Endpoint> => {
    const { host, port, plaintext } = await consoleClient.seeEndpoint({}, { signal });
    return { host: host || window.location.hostname, port, plaintext };
  },
  staleTime: Infinity,
});

/** The applications found in Git that are not registered. */
export const suggestionsQuery = queryOptions({
  queryKey: key.suggestions,
  queryFn: async ({ signal }) => consoleClient.listSuggestions({}, { signal }),
});

export interface Quickstart {
  remote: string;
  clone: string;
  /** Address of the page that shows notifications. */
  inbox: string;
  /** What is special about the demo. */
  note?: string;
  steps: { title: string; commands: string[] }[];
}

/** The quickstart guide; null unless the control plane was started by `pipecd quickstart`. */
export const quickstartQuery = queryOptions({
  queryKey: key.quickstart,
  queryFn: async ({ signal }): Promise<Quickstart | null> => {
    const response = await fetch("/quickstart.json", { signal });
    const isJson = response.headers.get("content-type")?.startsWith("application/json");
    return response.ok && isJson ? ((await response.json()) as Quickstart) : null;
  },
  staleTime: Infinity,
});

/** Figures change with every deployment that ends; a minute is fresh enough for what they are about. */
export const insightsQuery = (filter: InsightFilter) =>
  queryOptions({
    queryKey: [...key.insights, filter],
    queryFn: ({ signal }) => {
      const { from, to } = insightRange(filter.days, Date.now() / 1000);
      const timeZone = new Intl.DateTimeFormat().resolvedOptions().timeZone;
      const { bucket, applicationId, kinds, labels } = filter;
      return consoleClient.getInsights(
        { rangeFrom: BigInt(from), rangeTo: BigInt(to), bucket, timeZone, applicationId, kinds, labels },
        { signal },
      );
    },
    refetchInterval: 60_000,
    placeholderData: (previous) => previous,
  });
