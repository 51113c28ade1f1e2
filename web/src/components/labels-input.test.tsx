// @vitest-environment jsdom
import { MantineProvider } from "@mantine/core";
import { cleanup, render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { useState } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { LabelsInput } from "./labels-input";

beforeEach(() => {
  vi.stubGlobal("matchMedia", () => ({ matches: false, addEventListener() {}, removeEventListener() {} }));
  vi.stubGlobal("ResizeObserver", class { observe() {} unobserve() {} disconnect() {} });
});
afterEach(cleanup);

function Field() {
  const [labels, setLabels] = useState<string[]>([]);
  return (
    <MantineProvider>
      <LabelsInput label="Labels" value={labels} onChange={setLabels} />
      <output>{labels.join(" ")}</output>
    </MantineProvider>
  );
}

const enter = (text: string) => userEvent.type(screen.getByLabelText("Labels", { selector: "input" }), `${text}{Enter}`);

test.each(["prod", "env:", ":prod"])("the text %j stays in the field, with what to write", async (text) => {
  render(<Field />);
  await enter("team:a");
  await enter(text);
  expect(screen.getByText(text)).toBeTruthy();
  expect(screen.getByText(`“${text}” is not a label. Write key:value, such as env:prod.`)).toBeTruthy();
  expect(screen.getByRole("status").textContent).toBe("team:a");
});
