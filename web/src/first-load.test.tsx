// @vitest-environment jsdom
// Which calls each page makes when it is opened: every call once. A new one is added here on purpose.
import { cleanup, screen, waitFor } from "@testing-library/react";
import { afterEach, beforeEach, expect, test } from "vitest";

import { GetApplicationResponseSchema } from "./schema/web/applications_pb";
import { GetDeploymentResponseSchema } from "./schema/web/deployments_pb";
import { ListSuggestionsResponseSchema } from "./schema/pipecd/v1/console_pb";
import { ControlPlane, message, openConsole, stubBrowser } from "./testing/console";

beforeEach(stubBrowser);
afterEach(cleanup);

/** Of every page: the user, what the user may do, and the approvals that are counted in the navigation. */
const LAYOUT = ["getMe", "pageDeployments", "seeRights"];

test.each<[string, string[]]>([
  ["/applications", ["listPipeds", "listSuggestions", "pageApplications"]],
  ["/applications/x", ["getApplication", "listPipeds", "pageDeployments", "seeLiveState"]],
  ["/deployments", ["listPipeds", "pageDeployments"]],
  ["/deployments/x", ["getDeployment", "pageDeployments"]],
  ["/attention", ["listPipeds", "pageApplications", "pageApplications", "pageDeployments"]],
  ["/insights", ["getInsights", "listPipeds", "pageApplications"]],
  ["/chains", ["listDeploymentChains"]],
  ["/traces", ["listDeploymentTraces"]],
  ["/events", ["listEvents", "seeEndpoint"]],
  ["/pipeds", ["listPipeds"]],
  ["/api-keys", ["listAPIKeys"]],
  ["/settings", ["seeProject"]],
  ["/audit-log", ["listAudit"]],
  ["/sessions", ["listOwnSessions"]],
])("%s", async (path, calls) => {
  const plane = new ControlPlane();
  plane.handlers["getApplication"] = () => message(GetApplicationResponseSchema, { application: { id: "x", name: "shop" } });
  const deployment = { id: "x", applicationId: "a", applicationName: "shop", stages: [{ id: "s", name: "S", visible: true }] };
  plane.handlers["getDeployment"] = () => message(GetDeploymentResponseSchema, { deployment });
  const { client } = openConsole(plane, path);
  await screen.findByRole("heading", { level: 1 });
  const expected = [...LAYOUT, ...calls].toSorted();
  await waitFor(() => expect(plane.calls.toSorted()).toEqual(expected));
  await waitFor(() => expect(client.isFetching()).toBe(0));
  expect(plane.calls.toSorted()).toEqual(expected);
});

// Otherwise the list would be moved when they come.
test("the list of applications is shown together with what is above it", async () => {
  const plane = new ControlPlane();
  let answer: (response: unknown) => void = () => undefined;
  plane.handlers["listSuggestions"] = () => new Promise((resolve) => (answer = resolve));
  openConsole(plane, "/applications");
  await waitFor(() => expect(plane.calls).toContain("listSuggestions"));
  await waitFor(() => expect(plane.calls).toContain("pageApplications"));
  await screen.findByRole("heading", { name: "Applications", level: 1 });
  expect(screen.queryByRole("group", { name: "Applications by sync status" })).toBeNull();
  answer(message(ListSuggestionsResponseSchema, {}));
  await screen.findByRole("group", { name: "Applications by sync status" });
});
