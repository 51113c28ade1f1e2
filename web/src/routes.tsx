// Maps URL paths to pages. Each page is loaded on its first visit.

import type { QueryClient } from "@tanstack/react-query";
import { createBrowserRouter, redirect, type RouteObject } from "react-router";

import { FirstPage } from "./components/first-page";
import { Layout } from "./components/layout";
import { ErrorPage, PageError } from "./pages/error";
import { meQuery, rightsQuery } from "./queries";

const importApplications = () => import("./pages/applications");

export const createRouter = (client: QueryClient) => createBrowserRouter(createRoutes(client));

export const createRoutes = (client: QueryClient): RouteObject[] => [
  {
    errorElement: <ErrorPage />,
    children: [
      { path: "/login", lazy: async () => ({ Component: (await import("./pages/login")).LoginPage }) },
      {
        element: <Layout />,
        // While the code of the page is loaded.
        loader: () => {
          void client.prefetchQuery(meQuery);
          void client.prefetchQuery(rightsQuery);
          return null;
        },
        shouldRevalidate: () => false,
        children: [
          {
            // Below the layout, so that it stays, and says whether the control plane answers.
            errorElement: <PageError />,
            children: [
              {
                path: "/",
                element: <FirstPage />,
                loader: () => {
                  void importApplications();
                  return null;
                },
              },
              {
                path: "/applications",
                lazy: async () => ({ Component: (await importApplications()).ApplicationsPage }),
              },
              {
                path: "/applications/add",
                lazy: async () => ({ Component: (await import("./pages/add-application")).AddApplicationPage }),
              },
              {
                path: "/applications/:id",
                lazy: async () => ({ Component: (await import("./pages/application")).ApplicationPage }),
              },
              {
                path: "/deployments",
                lazy: async () => ({ Component: (await import("./pages/deployments")).DeploymentsPage }),
              },
              {
                path: "/deployments/:id",
                lazy: async () => ({ Component: (await import("./pages/deployment")).DeploymentPage }),
              },
              {
                path: "/compare",
                lazy: async () => ({ Component: (await import("./pages/compare")).ComparePage }),
              },
              { path: "/chains", lazy: async () => ({ Component: (await import("./pages/chains")).ChainsPage }) },
              { path: "/chains/:id", lazy: async () => ({ Component: (await import("./pages/chain")).ChainPage }) },
              { path: "/traces", lazy: async () => ({ Component: (await import("./pages/traces")).TracesPage }) },
              {
                path: "/attention",
                lazy: async () => ({ Component: (await import("./pages/attention")).AttentionPage }),
              },
              {
                path: "/insights",
                lazy: async () => ({ Component: (await import("./pages/insights")).InsightsPage }),
              },
              { path: "/events", lazy: async () => ({ Component: (await import("./pages/events")).EventsPage }) },
              { path: "/pipeds", lazy: async () => ({ Component: (await import("./pages/pipeds")).PipedsPage }) },
              { path: "/settings/piped", loader: () => redirect("/pipeds") },
              { path: "/api-keys", lazy: async () => ({ Component: (await import("./pages/api-keys")).ApiKeysPage }) },
              { path: "/settings", lazy: async () => ({ Component: (await import("./pages/settings")).SettingsPage }) },
              { path: "/audit-log", lazy: async () => ({ Component: (await import("./pages/audit-log")).AuditLogPage }) },
              { path: "/sessions", lazy: async () => ({ Component: (await import("./pages/sessions")).SessionsPage }) },
              { path: "/settings/api-key", loader: () => redirect("/api-keys") },
              { path: "*", lazy: async () => ({ Component: (await import("./pages/not-found")).NotFoundPage }) },
            ],
          },
        ],
      },
    ],
  },
];
