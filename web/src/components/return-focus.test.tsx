// @vitest-environment jsdom
import { MantineProvider, Modal } from "@mantine/core";
import { cleanup, render, screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { useState } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";

import { stubBrowser } from "../testing/console";
import { useReturnFocus } from "./return-focus";

beforeEach(stubBrowser);
afterEach(cleanup);

function Dialog({ close }: { close: () => void }) {
  useReturnFocus();
  return (
    <Modal opened onClose={close} title="Question">
      <button type="button">Answer</button>
    </Modal>
  );
}

function Page() {
  const [opened, setOpened] = useState(false);
  return (
    <MantineProvider env="test">
      <button type="button" onClick={() => setOpened(true)}>
        Ask
      </button>
      {opened && <Dialog close={() => setOpened(false)} />}
    </MantineProvider>
  );
}

test("a dialog that is closed gives the focus back to what opened it", async () => {
  render(<Page />);
  const user = userEvent.setup();
  const button = screen.getByRole("button", { name: "Ask" });
  await user.click(button);
  await screen.findByRole("dialog");
  await user.keyboard("{Escape}");
  await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull());
  await waitFor(() => expect(document.activeElement).toBe(button));
});

const SOURCES = import.meta.glob<string>("../{components,features,pages}/**/*.tsx", { query: "?raw", import: "default", eager: true });

test("every dialog that exists only while it is open does so", () => {
  const dialogs = Object.entries(SOURCES).filter(([path, text]) => !path.includes(".test.") && /<(Modal|Drawer)\s+opened\s/.test(text));
  expect(dialogs.length).toBeGreaterThan(2);
  expect(dialogs.filter(([, text]) => !text.includes("useReturnFocus();")).map(([path]) => path)).toEqual([]);
});
