// @vitest-environment jsdom
import { MantineProvider } from "@mantine/core";
import { QueryClientProvider } from "@tanstack/react-query";
import { act, cleanup, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { Suspense, use } from "react";
import { MemoryRouter } from "react-router";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { ConsoleChange_Kind as Kind } from "./schema/pipecd/v1/console_pb";
import { LoginPage } from "./pages/login";
import { createQueryClient } from "./query-client";
import { Session, SessionContext, sessionNotice } from "./session";
import { ControlPlane, type OpenConsole, openConsole, stubBrowser } from "./testing/console";

const opened: OpenConsole[] = [];

beforeEach(stubBrowser);
afterEach(() => {
  cleanup();
  for (const { session } of opened.splice(0)) session.close();
  sessionStorage.clear();
});

async function open(plane: ControlPlane, path: string): Promise<OpenConsole> {
  const page = openConsole(plane, path);
  opened.push(page);
  await screen.findAllByRole("heading", { level: 1 });
  return page;
}

const ENDED = "Your session has ended. Sign in to continue where you were.";

test("a session that was ended elsewhere leaves the document, and the login page says so", async () => {
  const plane = new ControlPlane();
  const { navigation } = await open(plane, "/chains");
  plane.user = "";
  plane.announce(Kind.DEPLOYMENT_CHAIN);
  await waitFor(() => expect(navigation.reload).toHaveBeenCalledOnce());
  expect(screen.queryByRole("heading", { name: "Chains" })).toBeNull();
  expect(sessionNotice()).toBe(ENDED);
});

test("who is not signed in comes back to the same place of the same page after login", async () => {
  const plane = new ControlPlane();
  plane.user = "";
  sessionStorage.setItem("pipecd.session-notice", "ended");
  const { router, navigation } = await open(plane, "/deployments/x?stage=a#log");
  const { pathname, search } = router.state.location;
  expect([pathname, new URLSearchParams(search).get("next")]).toEqual(["/login", "/deployments/x?stage=a#log"]);
  expect(screen.getByRole("status").textContent).toBe(ENDED);
  expect(sessionNotice()).toBe("");
  // As another tab would.
  plane.user = "ada";
  await open(plane, "/chains");
  await waitFor(() => expect(navigation.open).toHaveBeenCalledWith("/deployments/x?stage=a#log"));
});

test("the login page says it also if React renders it twice", async () => {
  new ControlPlane().user = "";
  sessionStorage.setItem("pipecd.session-notice", "ended");
  document.cookie = "error=The%20provider%20refused";
  const loaded = Promise.resolve("loaded");
  const Late = () => use(loaded);
  const client = createQueryClient();
  const session = new Session(client, { reload: vi.fn(), open: vi.fn() });
  const page = (
    <MantineProvider env="test">
      <QueryClientProvider client={client}>
        <SessionContext value={session}>
          <MemoryRouter>
            <Suspense>
              <LoginPage />
              <Late />
            </Suspense>
          </MemoryRouter>
        </SessionContext>
      </QueryClientProvider>
    </MantineProvider>
  );
  await act(async () => {
    render(page);
    await loaded;
  });
  expect((await screen.findByRole("alert")).textContent).toContain("The provider refused");
  expect(document.cookie).toBe("");
  session.close();
});

test.each([
  { who: "another user", change: { user: "bob" } },
  { who: "another user of the same name", change: { userId: "2" } },
])("$who in another tab leaves the document; the same user does not", async ({ change }) => {
  const plane = new ControlPlane();
  const first = await open(plane, "/chains");
  await open(plane, "/traces");
  expect(first.navigation.reload).not.toHaveBeenCalled();
  Object.assign(plane, change);
  await open(plane, "/events");
  await waitFor(() => expect(first.navigation.reload).toHaveBeenCalledOnce());
});

test("another user who is noticed by a reload of the current one leaves the document", async () => {
  const plane = new ControlPlane();
  const { navigation } = await open(plane, "/chains");
  plane.user = "bob";
  plane.announce(Kind.PROJECT);
  await waitFor(() => expect(navigation.reload).toHaveBeenCalledOnce());
});

const signOut = async () => {
  fireEvent.click(screen.getByRole("button", { name: "Signed in as ada" }));
  fireEvent.click(await screen.findByRole("menuitem", { name: "Sign out" }));
};

function answerSignOut(answer: () => Promise<Response>): void {
  const forward = fetch;
  vi.stubGlobal("fetch", (url: string, init: RequestInit) => (url === "/auth/logout" ? answer() : forward(url, init)));
}

test("logging out leaves the document, and a failure says that the session has not ended", async () => {
  const { navigation } = await open(new ControlPlane(), "/chains");
  answerSignOut(() => Promise.reject(new TypeError("no network")));
  await signOut();
  await screen.findByText(/You are still signed in/);
  expect(navigation.reload).not.toHaveBeenCalled();
  answerSignOut(() => Promise.resolve(new Response()));
  await signOut();
  await waitFor(() => expect(navigation.reload).toHaveBeenCalledOnce());
  expect(sessionNotice()).toBe("You are signed out.");
});

test("logging out leaves the documents of other tabs", async () => {
  const plane = new ControlPlane();
  const other = await open(plane, "/traces");
  cleanup();
  await open(plane, "/chains");
  answerSignOut(() => Promise.resolve(new Response()));
  await signOut();
  await waitFor(() => expect(other.navigation.reload).toHaveBeenCalledOnce());
});
