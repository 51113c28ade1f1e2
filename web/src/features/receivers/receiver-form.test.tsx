// @vitest-environment jsdom
import { Code } from "@connectrpc/connect";
import { cleanup, fireEvent, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, test } from "vitest";

import { SeeProjectResponseSchema } from "../../schema/pipecd/v1/console_pb";
import { ControlPlane, message, openConsole, refuse, stubBrowser } from "../../testing/console";

beforeEach(stubBrowser);
afterEach(cleanup);

test("an address that is none is refused in the dialog by the control plane, not by the browser", async () => {
  const plane = new ControlPlane();
  plane.handlers["seeProject"] = () => message(SeeProjectResponseSchema, { project: { id: "team" } });
  plane.handlers["addProjectReceiver"] = refuse(Code.InvalidArgument, "the address needs a scheme");
  openConsole(plane, "/settings");
  fireEvent.click(await screen.findByRole("button", { name: "Add receiver" }));
  fireEvent.change(await screen.findByLabelText(/^Name/), { target: { value: "team" } });
  fireEvent.change(screen.getByLabelText("URL of an incoming webhook"), { target: { value: "not a url" } });
  fireEvent.click(screen.getByRole("button", { name: "Add" }));
  expect(await screen.findByText(/needs a scheme/)).toBeTruthy();
});
