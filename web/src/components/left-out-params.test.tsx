// @vitest-environment jsdom
import { cleanup, configure, fireEvent, screen, waitFor } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { GetDeploymentResponseSchema } from "../schema/web/deployments_pb";
import { ControlPlane, message, openConsole, stubBrowser } from "../testing/console";

vi.setConfig({ testTimeout: 60_000 });
configure({ asyncUtilTimeout: 30_000 });
beforeEach(stubBrowser);
afterEach(cleanup);

test("a page says which values of its address it leaves out, until the address is corrected", async () => {
  const { router } = openConsole(new ControlPlane(), "/events?status=lost&q=image");
  await screen.findByText(/has a value that it does not know: status=lost\. It is left out/);
  fireEvent.click(screen.getByRole("link", { name: "Correct the address" }));
  await waitFor(() => expect(screen.queryByText(/status=lost/)).toBeNull());
  expect(router.state.location.search).toBe("?q=image");
});

test("a link to a stage that the deployment does not have shows the log of all stages", async () => {
  const plane = new ControlPlane();
  const stages = [{ id: "s", name: "BUILD", visible: true, status: 2 }, { id: "t", name: "RELEASE", visible: true, status: 2 }];
  const deployment = { id: "x", applicationId: "a", applicationName: "shop", stages };
  plane.handlers["getDeployment"] = () => message(GetDeploymentResponseSchema, { deployment });
  const { router } = openConsole(plane, "/deployments/x?stage=gone&line=7");
  await screen.findByText(/has no stage gone\. The log of all stages is shown/);
  expect(screen.getByRole("log", { name: "Log of all stages" })).toBeTruthy();
  fireEvent.click(screen.getByRole("link", { name: "Correct the address" }));
  await screen.findByRole("log", { name: "Stage log" });
  expect(router.state.location.search).toBe("");
});
