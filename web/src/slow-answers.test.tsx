// @vitest-environment jsdom
// What pages show while the control plane has not answered yet: nothing that is true of something else only.
import { cleanup, fireEvent, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { DeploymentStatus } from "./schema/model/deployment_pb";
import { StageStatus } from "./schema/model/stage_pb";
import { PageApplicationsResponseSchema, PageDeploymentsResponseSchema } from "./schema/pipecd/v1/console_pb";
import { GetApplicationResponseSchema, SyncApplicationResponseSchema } from "./schema/web/applications_pb";
import { GetDeploymentResponseSchema } from "./schema/web/deployments_pb";
import { GetStageLogResponseSchema } from "./schema/web/logs_pb";
import { ControlPlane, message, openConsole, stubBrowser } from "./testing/console";

beforeEach(stubBrowser);
afterEach(cleanup);

/** Answers of a control plane that come when the test says so. */
class Answers<Request = unknown> {
  readonly requests: Request[] = [];
  readonly #waiting: ((response: unknown) => void)[] = [];

  readonly handler = (request: unknown): Promise<unknown> => {
    this.requests.push(request as Request);
    return new Promise((resolve) => this.#waiting.push(resolve));
  };

  /** Answers the oldest request that has no answer, once there is one. */
  async give(response: unknown): Promise<void> {
    await waitFor(() => expect(this.#waiting.length).toBeGreaterThan(0));
    this.#waiting.shift()?.(response);
  }
}

const applications = (names: string[], nextCursor = "") =>
  message(PageApplicationsResponseSchema, { applications: names.map((name) => ({ id: name, name })), nextCursor, total: BigInt(names.length) });

describe("a list", () => {
  test("goes to the next page once, however often Next is pressed", async () => {
    const plane = new ControlPlane();
    const pages = new Answers<{ cursor: string }>();
    plane.handlers["pageApplications"] = pages.handler;
    const { router } = openConsole(plane, "/applications");
    await pages.give(applications(["cart"], "2"));
    const next = await screen.findByRole("button", { name: "Next" });
    fireEvent.click(next);
    await waitFor(() => expect(router.state.location.search).toBe("?after=2"));
    const { key } = router.state.location;
    fireEvent.click(screen.getByRole("button", { name: "Next" }));
    fireEvent.click(screen.getByRole("button", { name: "Next" }));
    expect(screen.getByRole("link", { name: "cart" }).closest("[aria-busy=true]")).not.toBeNull();
    await pages.give(applications(["shop"], "3"));
    await screen.findByRole("link", { name: "shop" });
    expect(router.state.location.key).toBe(key);
    fireEvent.click(screen.getByRole("button", { name: "Previous" }));
    await screen.findByRole("link", { name: "cart" });
  });

  test.each([
    ["/applications?q=gone", "pageApplications", "No matching applications", PageApplicationsResponseSchema],
    ["/deployments?q=gone", "pageDeployments", "No matching deployments", PageDeploymentsResponseSchema],
  ])("%s says nothing about others when its filters are cleared", async (path, call, nothing, schema) => {
    const plane = new ControlPlane();
    openConsole(plane, path);
    await screen.findByText(nothing);
    const answers = new Answers();
    plane.handlers[call] = answers.handler;
    const [clear] = screen.getAllByRole("button", { name: "Clear filters" });
    if (clear) fireEvent.click(clear);
    await screen.findByRole("status", { name: /^Loading/ });
    expect(screen.queryByText(/^No (matching )?(applications|deployments)/)).toBeNull();
    await answers.give(message(schema, {}));
    await screen.findByText(/^No (applications|deployments|pipeds)/);
  });
});

test("an application shows no deployments of the one that was shown before", async () => {
  const plane = new ControlPlane();
  const deployments = new Answers<{ applicationId: string }>();
  plane.handlers["getApplication"] = (request) => {
    const { applicationId: id } = request as { applicationId: string };
    return message(GetApplicationResponseSchema, { application: { id, name: id } });
  };
  plane.handlers["pageDeployments"] = (request) =>
    (request as { applicationId: string }).applicationId ? deployments.handler(request) : message(PageDeploymentsResponseSchema, {});
  const { router, client } = openConsole(plane, "/applications/cart");
  await screen.findByRole("heading", { name: "cart", level: 1 });
  const failed = { id: "d1", applicationId: "cart", status: DeploymentStatus.DEPLOYMENT_FAILURE, statusReason: "The cart is broken" };
  await deployments.give(message(PageDeploymentsResponseSchema, { deployments: [failed] }));
  expect((await screen.findAllByText(/The cart is broken/)).length).toBeGreaterThan(0);
  client.setQueryData(["application", "shop"], { record: message(GetApplicationResponseSchema, { application: { id: "shop", name: "shop" } }).application });
  await router.navigate("/applications/shop");
  await screen.findByRole("heading", { name: "shop", level: 1 });
  expect(screen.queryByText(/The cart is broken/)).toBeNull();
  await deployments.give(message(PageDeploymentsResponseSchema, {}));
  await screen.findByText("Not deployed yet");
});

test("a sync that is being sent is not sent again by its menu", async () => {
  const plane = new ControlPlane();
  const syncs = new Answers();
  plane.handlers["getApplication"] = () => message(GetApplicationResponseSchema, { application: { id: "shop", name: "shop" } });
  plane.handlers["syncApplication"] = syncs.handler;
  openConsole(plane, "/applications/shop");
  const user = userEvent.setup();
  await user.click(await screen.findByRole("button", { name: "Sync" }));
  await user.click(screen.getByRole("button", { name: "Sync options" }));
  const item = await screen.findByRole("menuitem", { name: /^Quick sync/ });
  expect(item.getAttribute("data-disabled")).toBe("true");
  await user.click(item);
  await syncs.give(message(SyncApplicationResponseSchema, { commandId: "c" }));
  await waitFor(() => expect(item.getAttribute("data-disabled")).toBeNull());
  expect(syncs.requests).toHaveLength(1);
});

test("an approval is offered with the plan that it is about", async () => {
  const plane = new ControlPlane();
  const logs = new Answers<{ stageId: string }>();
  const stages = [
    { id: "p", name: "TERRAFORM_PLAN", visible: true, status: StageStatus.STAGE_SUCCESS },
    { id: "w", name: "WAIT_APPROVAL", visible: true, status: StageStatus.STAGE_RUNNING, index: 1 },
  ];
  const deployment = { id: "d", applicationId: "a", applicationName: "shop", stages, status: DeploymentStatus.DEPLOYMENT_RUNNING };
  plane.handlers["getDeployment"] = () => message(GetDeploymentResponseSchema, { deployment });
  plane.handlers["seeStageLog"] = (request) =>
    (request as { stageId: string }).stageId === "p" ? logs.handler(request) : message(GetStageLogResponseSchema, { caughtUp: true });
  openConsole(plane, "/deployments/d");
  await screen.findByRole("status", { name: "Loading the change" });
  expect(screen.queryByRole("button", { name: "Approve" })).toBeNull();
  await logs.give(message(GetStageLogResponseSchema, { blocks: [{ index: 1n, log: "1 to add" }], caughtUp: true, completed: true }));
  const approval = await screen.findByRole("group", { name: "Approval" });
  await within(approval).findByRole("button", { name: "Approve" });
});

test("the palette says that it found nothing only after it searched", async () => {
  const plane = new ControlPlane();
  openConsole(plane, "/deployments");
  await screen.findByRole("heading", { level: 1 });
  const found = new Answers();
  plane.handlers["pageApplications"] = found.handler;
  const user = userEvent.setup();
  await user.click(screen.getByRole("button", { name: /^Search or jump to/ }));
  fireEvent.change(await screen.findByLabelText("Search everything"), { target: { value: "zebra" } });
  await screen.findByText("Searching…");
  expect(screen.queryByText("Nothing found")).toBeNull();
  await waitFor(() => expect(found.requests.length).toBeGreaterThan(0));
  await found.give(applications([]));
  await screen.findByText("Nothing found");
});

test("Back returns to where the page was scrolled to", async () => {
  const plane = new ControlPlane();
  const scrollTo = vi.fn();
  vi.stubGlobal("scrollTo", scrollTo);
  const { router } = openConsole(plane, "/deployments");
  await screen.findByRole("heading", { name: "Deployments", level: 1 });
  const scroll = (top: number) => {
    vi.stubGlobal("scrollY", top);
    fireEvent.scroll(window);
  };
  scroll(700);
  await router.navigate("/events");
  await screen.findByRole("heading", { name: "Events", level: 1 });
  await waitFor(() => expect(scrollTo).toHaveBeenLastCalledWith(0, 0));
  scroll(50);
  // The browser scrolls before the page is there.
  fireEvent.popState(window);
  scroll(40);
  await router.navigate(-1);
  await screen.findByRole("heading", { name: "Deployments", level: 1 });
  await waitFor(() => expect(scrollTo).toHaveBeenLastCalledWith(0, 700));
  await router.navigate(1);
  await screen.findByRole("heading", { name: "Events", level: 1 });
  await waitFor(() => expect(scrollTo).toHaveBeenLastCalledWith(0, 50));
});
