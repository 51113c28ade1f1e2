// @vitest-environment jsdom
// Every page of one record: what it says if the control plane does not return the record.
import { Code } from "@connectrpc/connect";
import { cleanup, screen } from "@testing-library/react";
import { QueryClient } from "@tanstack/react-query";
import type { RouteObject } from "react-router";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { createRoutes } from "../routes";
import { GetApplicationResponseSchema } from "../schema/web/applications_pb";
import { GetDeploymentChainResponseSchema } from "../schema/web/chains_pb";
import { GetDeploymentResponseSchema } from "../schema/web/deployments_pb";
import { ConsoleChange_Kind as Kind } from "../schema/pipecd/v1/console_pb";
import { ControlPlane, message, openConsole, refuse, stubBrowser } from "../testing/console";

beforeEach(stubBrowser);
afterEach(cleanup);

const pathsOf = (routes: readonly RouteObject[]): string[] =>
  routes.flatMap(({ path, children }) => [...(path ? [path] : []), ...pathsOf(children ?? [])]);

interface RecordRoute {
  noun: string;
  list: string;
  call: string;
  found: unknown;
  /** The change that says that the record is another one. */
  change: Kind;
}

const ROUTES: Record<string, RecordRoute> = {
  "/applications/:id": {
    noun: "application",
    list: "/applications",
    call: "getApplication",
    found: message(GetApplicationResponseSchema, { application: { id: "x", name: "shop" } }),
    change: Kind.APPLICATION,
  },
  "/deployments/:id": {
    noun: "deployment",
    list: "/deployments",
    call: "getDeployment",
    found: message(GetDeploymentResponseSchema, { deployment: { id: "x", applicationName: "shop" } }),
    change: Kind.DEPLOYMENT,
  },
  "/chains/:id": {
    noun: "chain",
    list: "/chains",
    call: "getDeploymentChain",
    found: message(GetDeploymentChainResponseSchema, { deploymentChain: { id: "x" } }),
    change: Kind.DEPLOYMENT_CHAIN,
  },
  "/compare?from=:id&to=:id": {
    noun: "deployment",
    list: "/deployments",
    call: "getDeployment",
    found: message(GetDeploymentResponseSchema, { deployment: { id: "x", applicationName: "shop" } }),
    change: Kind.DEPLOYMENT,
  },
};

test("this test knows every page of a record", () => {
  const paths = pathsOf(createRoutes(new QueryClient())).filter((path) => path.includes(":"));
  expect(Object.keys(ROUTES)).toEqual(expect.arrayContaining(paths));
  expect(Object.keys(ROUTES).filter((path) => !path.startsWith("/compare"))).toHaveLength(paths.length);
});

const REFUSALS: [string, Code, (noun: string) => RegExp][] = [
  ["unknown", Code.NotFound, (noun) => new RegExp(`No ${noun} with this ID exists`)],
  ["malformed", Code.InvalidArgument, (noun) => new RegExp(`This is not the ID of an? ${noun}`)],
  ["refused", Code.PermissionDenied, (noun) => new RegExp(`You may not see this ${noun}`)],
];
/** Too long, wrong characters, another encoding. */
const IDS = ["x".repeat(5000), "a%2F..%2F%00", "%E0%A4%A"];

describe.each(Object.entries(ROUTES))("%s", (path, { noun, list, call, found, change }) => {
  test.each(REFUSALS)("says that the record is %s", async (_, code, headline) => {
    const plane = new ControlPlane();
    plane.handlers[call] = refuse(code, "the roles of ada do not include it");
    openConsole(plane, path.replaceAll(":id", "x"));
    await screen.findByRole("heading", { name: headline(noun) });
    expect(screen.getByRole("link", { name: `View ${list.slice(1)}` }).getAttribute("href")).toBe(list);
    const help = screen.queryByText(/An administrator of the project quickstart can change your roles/);
    expect(help !== null).toBe(code === Code.PermissionDenied);
    expect(screen.queryByRole("alert")).toBeNull();
  });

  test("says that the record was deleted while it was shown, and does not show it when the control plane is gone", async () => {
    const plane = new ControlPlane();
    plane.handlers[call] = () => found;
    openConsole(plane, path.replaceAll(":id", "x"));
    await screen.findByRole("heading", { level: 1, name: /shop|Chain of/ });
    plane.handlers[call] = refuse(Code.NotFound);
    plane.announce(change, "x");
    const headline = `This ${noun} was deleted while you looked at it`;
    await screen.findByRole("heading", { name: headline });
    const before = plane.calls.filter((name) => name === call).length;
    plane.handlers[call] = refuse(Code.Unavailable);
    plane.announce(change, "x");
    await vi.waitFor(() => expect(plane.calls.filter((name) => name === call).length).toBeGreaterThan(before), 30_000);
    expect(screen.getByRole("heading", { name: headline })).toBeTruthy();
    expect(screen.queryByRole("heading", { name: /shop/ })).toBeNull();
  });
});

test.each(IDS)("the ID %j leads to a page", async (id) => {
  const plane = new ControlPlane();
  plane.handlers["getDeployment"] = refuse(Code.NotFound);
  openConsole(plane, `/deployments/${id}`);
  await screen.findByRole("heading", { name: "No deployment with this ID exists" });
});

test.each(["/nothing", "/deployments/a/b?after=1"])("%s is no page", async (path) => {
  openConsole(new ControlPlane(), path);
  await screen.findByRole("heading", { name: "There is no page at this address" });
});

test.each(["/compare", "/compare?from=a&to="])("%s says what is missing", async (path) => {
  const plane = new ControlPlane();
  openConsole(plane, path);
  await screen.findByRole("heading", { name: "No deployments to compare" });
  expect(plane.calls).not.toContain("getDeployment");
});

test.each([
  ["/applications", "pageApplications"],
  ["/deployments", "pageDeployments"],
  ["/chains", "listDeploymentChains"],
  ["/traces", "listDeploymentTraces"],
  ["/events", "listEvents"],
  ["/audit-log", "listAudit"],
  ["/insights", "getInsights"],
])("%s leads back from a page or filter that does not exist", async (path, call) => {
  const plane = new ControlPlane();
  plane.handlers[call] = (request) => {
    const { cursor, applicationId } = request as { cursor?: string; applicationId?: string };
    if (cursor || applicationId) refuse(Code.InvalidArgument, "the cursor is invalid: start at the first page")();
    return undefined;
  };
  openConsole(plane, `${path}?after=%7Bbroken&application=x&range=-1&bucket=&from=never&status=none&log=1&line=NaN`);
  const link = await screen.findByRole("link", { name: "First page without filters" });
  expect(link.getAttribute("href")).toBe(path);
  link.click();
  await vi.waitFor(() => expect(screen.queryByRole("alert")).toBeNull(), 30_000);
});

test("a list that the user may no longer see is not shown", async () => {
  const plane = new ControlPlane();
  openConsole(plane, "/chains");
  await screen.findByRole("heading", { name: "No deployment chains" });
  plane.handlers["listDeploymentChains"] = refuse(Code.PermissionDenied, "your roles do not allow this");
  plane.announce(Kind.DEPLOYMENT_CHAIN);
  await screen.findByText(/Your roles do not allow this/);
  expect(screen.queryByRole("heading", { name: "No deployment chains" })).toBeNull();
});
