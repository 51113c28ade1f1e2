// Entry point of the console: creates the query cache and the change feed client, and renders the router.

import "@fontsource-variable/inter/index.css";
import "@fontsource-variable/jetbrains-mono/index.css";
import "@mantine/core/styles.css";
import "@mantine/notifications/styles.css";
import "./styles.css";

import { MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { RouterProvider } from "react-router/dom";

import { LiveUpdates, LiveUpdatesContext } from "./live";
import { createQueryClient } from "./query-client";
import { createRouter } from "./routes";
import { Session, SessionContext } from "./session";
import { theme } from "./theme";

const client = createQueryClient();
const session = new Session(client);
const router = createRouter(client);

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no element #root");

createRoot(root).render(
  <StrictMode>
    <MantineProvider theme={theme} defaultColorScheme="auto">
      <Notifications position="bottom-right" />
      <QueryClientProvider client={client}>
        <SessionContext value={session}>
          <LiveUpdatesContext value={new LiveUpdates(client)}>
            <RouterProvider router={router} />
          </LiveUpdatesContext>
        </SessionContext>
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
);
