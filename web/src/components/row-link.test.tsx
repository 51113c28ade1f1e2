// @vitest-environment jsdom
import { cleanup, fireEvent, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, test } from "vitest";

import { ControlPlane, openConsole, stubBrowser } from "../testing/console";

beforeEach(stubBrowser);
afterEach(cleanup);

test("the navigation opens pages without loading the console again, and says which one is open", async () => {
  const { router } = openConsole(new ControlPlane(), "/events");
  const events = await screen.findByRole("link", { name: "Events" });
  expect(events.getAttribute("aria-current")).toBe("page");
  const chains = screen.getByRole("link", { name: "Chains" });
  // False: the browser does not follow the link itself.
  expect(fireEvent.click(chains)).toBe(false);
  await screen.findByRole("heading", { name: "Chains" });
  expect(router.state.location.pathname).toBe("/chains");
  expect(screen.getByRole("link", { name: "Chains" }).getAttribute("aria-current")).toBe("page");
  expect(events.getAttribute("aria-current")).toBeNull();
});

test("a click with a modifier is left to the browser", async () => {
  const { router } = openConsole(new ControlPlane(), "/events");
  const chains = await screen.findByRole("link", { name: "Chains" });
  // jsdom does not open windows.
  chains.addEventListener("click", (event) => event.preventDefault());
  fireEvent.click(chains, { ctrlKey: true });
  expect(router.state.location.pathname).toBe("/events");
});
