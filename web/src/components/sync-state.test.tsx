// @vitest-environment jsdom
import { cleanup, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, test } from "vitest";

import { ApplicationSyncStatus as Status } from "../schema/model/application_pb";
import { DeploymentStatus } from "../schema/model/deployment_pb";
import { StageStatus } from "../schema/model/stage_pb";
import { PageDeploymentsResponseSchema } from "../schema/pipecd/v1/console_pb";
import { GetApplicationResponseSchema } from "../schema/web/applications_pb";
import { ControlPlane, message, openConsole, stubBrowser } from "../testing/console";

beforeEach(stubBrowser);
afterEach(cleanup);

const FAILED = "The last deployment did not succeed";

function open(status: Status, shortReason: string, reason: string): ControlPlane {
  const plane = new ControlPlane();
  const application = { id: "a", name: "shop", deploying: status === Status.DEPLOYING, syncState: { status, shortReason, reason } };
  plane.handlers["getApplication"] = () => message(GetApplicationResponseSchema, { application });
  return plane;
}

test.each([
  [Status.SYNCED, "The last deployment succeeded", "The last deployment succeeded: all stages", "The last deployment succeeded"],
  [Status.OUT_OF_SYNC, FAILED, `${FAILED}: stage BUILD failed`, `${FAILED}: stage BUILD failed`],
])("the sync status says what happened once: %o", async (status, short, reason, sentence) => {
  openConsole(open(status, short, reason), "/applications/a");
  await screen.findByText(sentence);
  expect(screen.getAllByText(new RegExp(short))).toHaveLength(1);
});

test("a drift is shown below the sentence about it", async () => {
  openConsole(open(Status.OUT_OF_SYNC, "1 resource differs", "1 resource differs: see below\n+ cpu: 2"), "/applications/a");
  await screen.findByText("1 resource differs");
  await screen.findByText(/cpu: 2/);
});

test("an application whose deployment waits for an approval has that status on its page", async () => {
  const plane = open(Status.DEPLOYING, "A deployment is in progress", "");
  const stages = [{ id: "s", name: "WAIT_APPROVAL", visible: true, status: StageStatus.STAGE_RUNNING }];
  const deployments = [{ id: "d", applicationId: "a", stages, status: DeploymentStatus.DEPLOYMENT_RUNNING }];
  plane.handlers["pageDeployments"] = () => message(PageDeploymentsResponseSchema, { deployments });
  openConsole(plane, "/applications/a");
  const link = await screen.findByRole("link", { name: "View it" });
  expect(link.getAttribute("href")).toBe("/deployments/d");
  expect(screen.queryByText("Deploying")).toBeNull();
  expect(screen.getAllByText("Waiting for approval").length).toBeGreaterThan(0);
});
