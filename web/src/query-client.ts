// Creates the cache of all queries: when they are retried, and what happens to data that the user may no longer see.

import { MutationCache, QueryCache, QueryClient } from "@tanstack/react-query";

import { isForbidden, isRetryable, isUnauthenticated } from "./api";
import { clearUser } from "./queries";

const MAX_RETRIES = 3;

export function createQueryClient(): QueryClient {
  const client: QueryClient = new QueryClient({
    queryCache: new QueryCache({
      onError: (error, query) => {
        if (isUnauthenticated(error)) clearUser(client);
        // After other errors, a page keeps what it shows.
        if (isForbidden(error)) query.setState({ data: undefined, dataUpdatedAt: 0 });
      },
    }),
    mutationCache: new MutationCache({
      onError: (error) => {
        if (isUnauthenticated(error)) clearUser(client);
      },
    }),
    defaultOptions: {
      // Without a network a change fails at once. By default it would be made when the network is back, unexpectedly.
      mutations: { networkMode: "always" },
      queries: {
        staleTime: 10_000,
        refetchOnWindowFocus: false,
        retry: (failures, error) => isRetryable(error) && failures < MAX_RETRIES,
      },
    },
  });
  return client;
}
