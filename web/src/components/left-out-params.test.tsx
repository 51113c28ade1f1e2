// @vitest-environment jsdom
import { cleanup, fireEvent, screen, waitFor } from "@testing-library/react";
import { afterEach, beforeEach, expect, test } from "vitest";

import { DeploymentStatus } from "../schema/model/deployment_pb";
import { LogSeverity } from "../schema/model/stage_log_pb";
import { StageStatus } from "../schema/model/stage_pb";
import { GetDeploymentResponseSchema } from "../schema/web/deployments_pb";
import { GetStageLogResponseSchema } from "../schema/web/logs_pb";
import { ControlPlane, message, openConsole, stubBrowser } from "../testing/console";

beforeEach(stubBrowser);
afterEach(cleanup);

test("a page says which values of its address it leaves out, until the address is corrected", async () => {
  const { router } = openConsole(new ControlPlane(), "/events?status=lost&q=image");
  await screen.findByText(/has a value that it does not know: status=lost\. It is left out/);
  fireEvent.click(screen.getByRole("link", { name: "Correct the address" }));
  await waitFor(() => expect(screen.queryByText(/status=lost/)).toBeNull());
  expect(router.state.location.search).toBe("?q=image");
});

test.each([
  [{ line: "error", severity: LogSeverity.INFO, status: StageStatus.STAGE_SUCCESS }, "The log of BUILD has no error. Its end is shown."],
  [{ line: "4", severity: LogSeverity.ERROR, status: StageStatus.STAGE_SUCCESS }, "The log of BUILD has no line 4. Its end is shown."],
  [{ line: "4", severity: LogSeverity.INFO, status: StageStatus.STAGE_RUNNING }, "The log of BUILD has no line 4 yet. Its end is shown."],
])("a link to a line that the log does not have is followed to its end, and says so: %o", async ({ line, severity, status }, text) => {
  const plane = new ControlPlane();
  const stages = [{ id: "s", name: "BUILD", visible: true, status }];
  const deployment = { id: "x", applicationId: "a", applicationName: "shop", stages, status: DeploymentStatus.DEPLOYMENT_RUNNING };
  const blocks = [1n, 2n, 3n].map((index) => ({ index, log: `line ${index}`, severity, createdAt: 1n }));
  plane.handlers["getDeployment"] = () => message(GetDeploymentResponseSchema, { deployment });
  plane.handlers["seeStageLog"] = () => message(GetStageLogResponseSchema, { blocks, caughtUp: true });
  const { router } = openConsole(plane, `/deployments/x?stage=s&line=${line}`);
  await screen.findByText(text);
  fireEvent.click(screen.getByRole("link", { name: "Correct the address" }));
  await waitFor(() => expect(screen.queryByText(text)).toBeNull());
  expect(router.state.location.search).toBe("?stage=s");
});

test.each([
  [StageStatus.STAGE_FAILURE, DeploymentStatus.DEPLOYMENT_FAILURE, 1],
  [StageStatus.STAGE_CANCELLED, DeploymentStatus.DEPLOYMENT_CANCELLED, 0],
])("a first error is linked only after a failure (stage %i)", async (stageStatus, status, links) => {
  const plane = new ControlPlane();
  const stages = [{ id: "s", name: "BUILD", visible: true, status: stageStatus }];
  const deployment = { id: "x", applicationId: "a", applicationName: "shop", stages, status };
  plane.handlers["getDeployment"] = () => message(GetDeploymentResponseSchema, { deployment });
  openConsole(plane, "/deployments/x");
  await screen.findByRole("link", { name: "What differs now" });
  expect(screen.queryAllByRole("link", { name: "First error" })).toHaveLength(links);
});

test("a link to a stage that the deployment does not have shows the log of all stages", async () => {
  const plane = new ControlPlane();
  const stages = [{ id: "s", name: "BUILD", visible: true, status: 2 }, { id: "t", name: "RELEASE", visible: true, status: 2 }];
  const deployment = { id: "x", applicationId: "a", applicationName: "shop", stages };
  plane.handlers["getDeployment"] = () => message(GetDeploymentResponseSchema, { deployment });
  const { router } = openConsole(plane, "/deployments/x?stage=gone&line=7");
  await screen.findByText(/has no stage gone\. The log of all stages is shown/);
  expect(screen.queryByText(/has no line/)).toBeNull();
  expect(screen.getByRole("log", { name: "Log of all stages" })).toBeTruthy();
  fireEvent.click(screen.getByRole("link", { name: "Correct the address" }));
  await screen.findByRole("log", { name: "Stage log" });
  expect(router.state.location.search).toBe("");
});
