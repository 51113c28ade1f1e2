// @vitest-environment jsdom
// Every element of a table says its role, since CSS lays tables out as grids and cards on some screens.
import { cleanup, screen, within } from "@testing-library/react";
import { afterEach, beforeEach, expect, test } from "vitest";

import { PageApplicationsResponseSchema, SeeProjectResponseSchema } from "../schema/pipecd/v1/console_pb";
import { ListAPIKeysResponseSchema } from "../schema/web/api_keys_pb";
import { ListPipedsResponseSchema } from "../schema/web/pipeds_pb";
import { ControlPlane, message, openConsole, stubBrowser } from "../testing/console";

beforeEach(stubBrowser);
afterEach(cleanup);

const ANSWERS = {
  pageApplications: message(PageApplicationsResponseSchema, { applications: [{ id: "a", name: "shop" }], total: 1n }),
  listAPIKeys: message(ListAPIKeysResponseSchema, { keys: [{ id: "k", name: "shop" }] }),
  listPipeds: message(ListPipedsResponseSchema, { pipeds: [{ id: "p", name: "shop" }] }),
  seeProject: message(SeeProjectResponseSchema, {
    project: { id: "quickstart", rbacRoles: [{ name: "shop" }], userGroups: [{ ssoGroup: "shop", role: "shop" }] },
  }),
};
const ELEMENTS = "table, thead, tbody, tr, th, td";

test.each(["/applications", "/pipeds", "/api-keys", "/settings"])("%s", async (path) => {
  const plane = new ControlPlane();
  for (const [call, answer] of Object.entries(ANSWERS)) plane.handlers[call] = () => answer;
  openConsole(plane, path);
  const [table] = await screen.findAllByRole("table");
  await within(table as HTMLElement).findAllByText("shop");
  const unsaid = [...document.querySelectorAll(ELEMENTS)].filter((element) => !element.hasAttribute("role"));
  expect(unsaid.map(({ outerHTML }) => outerHTML.slice(0, 100))).toEqual([]);
});
