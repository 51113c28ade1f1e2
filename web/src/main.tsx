// Entry point of the console: creates the query cache and the change feed client, and renders the router.

import "@fontsource-variable/inter/index.css";
import "@fontsource-variable/jetbrains-mono/index.css";
import "@mantine/core/styles.css";
import "@mantine/notifications/styles.css";
import "./styles.css";

import { MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { MutationCache, QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { RouterProvider } from "react-router/dom";

import { isRetryable, isUnauthenticated } from "./api";
import { LiveUpdates, LiveUpdatesContext } from "./live";
import { clearUser } from "./queries";
import { createRouter } from "./routes";
import { theme } from "./theme";

const MAX_RETRIES = 3;

function clearUserIfUnauthenticated(error: unknown): void {
  if (isUnauthenticated(error)) clearUser(client);
}

const client: QueryClient = new QueryClient({
  queryCache: new QueryCache({ onError: clearUserIfUnauthenticated }),
  mutationCache: new MutationCache({ onError: clearUserIfUnauthenticated }),
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

const router = createRouter(client);

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no element #root");

createRoot(root).render(
  <StrictMode>
    <MantineProvider theme={theme} defaultColorScheme="auto">
      <Notifications position="bottom-right" />
      <QueryClientProvider client={client}>
        <LiveUpdatesContext value={new LiveUpdates(client)}>
          <RouterProvider router={router} />
        </LiveUpdatesContext>
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
);
