// @vitest-environment jsdom
import { MantineProvider } from "@mantine/core";
import { cleanup, render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import type { ReactNode } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { IconKey } from "../icons";
import { ActionButton } from "./action-button";
import { ActionMenu } from "./action-menu";

beforeEach(() => {
  vi.stubGlobal("matchMedia", () => ({ matches: false, addEventListener() {}, removeEventListener() {} }));
  vi.stubGlobal("ResizeObserver", class { observe() {} unobserve() {} disconnect() {} });
});
afterEach(cleanup);

const show = (children: ReactNode) => render(<MantineProvider env="test">{children}</MantineProvider>);
const REASON = "The application is disabled.";

test("a button that cannot be used has the focus and says why", async () => {
  const onClick = vi.fn();
  show(
    <ActionButton blocked={REASON} onClick={onClick}>
      Sync
    </ActionButton>,
  );
  const user = userEvent.setup();
  await user.tab();
  const button = screen.getByRole("button", { name: "Sync", description: REASON });
  expect(document.activeElement).toBe(button);
  expect(button.getAttribute("aria-disabled")).toBe("true");
  expect((await screen.findByRole("tooltip")).textContent).toBe(REASON);
  await user.keyboard("{Enter}");
  await user.click(button);
  expect(onClick).not.toHaveBeenCalled();
});

test("a button that can be used has no reason", async () => {
  const onClick = vi.fn();
  show(<ActionButton onClick={onClick}>Sync</ActionButton>);
  const button = screen.getByRole("button", { name: "Sync" });
  expect(button.getAttribute("aria-disabled")).toBeNull();
  await userEvent.setup().click(button);
  expect(onClick).toHaveBeenCalledOnce();
});

test("an item of a menu that cannot be used says why, and a hidden one is left out", async () => {
  const onSelect = vi.fn();
  const actions = [
    { text: "Add key", Icon: IconKey, blocked: "It has two keys.", onSelect },
    { text: "Restart", Icon: IconKey, hidden: true },
  ];
  show(<ActionMenu target={<button>Actions</button>} actions={actions} />);
  const user = userEvent.setup();
  await user.click(screen.getByRole("button", { name: "Actions" }));
  const item = await screen.findByRole("menuitem", { name: "Add key", description: "It has two keys." });
  await user.keyboard("{ArrowDown}");
  expect(document.activeElement).toBe(item);
  await user.click(item);
  expect(onSelect).not.toHaveBeenCalled();
  expect(screen.queryByRole("menuitem", { name: "Restart" })).toBeNull();
});

test("a menu without actions has no button", () => {
  show(<ActionMenu target={<button>Actions</button>} actions={[{ text: "Restart", Icon: IconKey, hidden: true }]} />);
  expect(screen.queryByRole("button")).toBeNull();
});
