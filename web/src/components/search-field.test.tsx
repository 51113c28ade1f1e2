// @vitest-environment jsdom
import { MantineProvider } from "@mantine/core";
import { act, cleanup, fireEvent, render, screen } from "@testing-library/react";
import { useState } from "react";
import { createMemoryRouter, RouterProvider, useSearchParams } from "react-router";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { withParam } from "../filters";
import { DEBOUNCE_MS, SearchField } from "./search-field";

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("matchMedia", () => ({ matches: false, addEventListener() {}, removeEventListener() {} }));
});
afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

const field = () => screen.getByLabelText<HTMLInputElement>("Search");
const pass = (milliseconds: number) => act(() => vi.advanceTimersByTimeAsync(milliseconds));

/** Types `key` where the caret is. */
function press(key: string): void {
  const { value, selectionStart } = field();
  const caret = selectionStart ?? value.length;
  fireEvent.change(field(), { target: { value: value.slice(0, caret) + key + value.slice(caret) } });
  field().setSelectionRange(caret + 1, caret + 1);
}

/** The owner of the field takes each text only after `delays` (ms, repeated), and re-renders in between. */
function Slow({ delays, onValue }: { delays: readonly number[]; onValue: (value: string) => void }) {
  const [value, setValue] = useState("");
  const [reports, setReports] = useState(0);
  const take = (text: string) => {
    setReports(reports + 1);
    setTimeout(() => {
      onValue(text);
      setValue(text);
    }, delays[reports % delays.length]);
  };
  return (
    <MantineProvider>
      <SearchField label="Search" value={value} onSearch={take} />
    </MantineProvider>
  );
}

/** The same numbers in every run. */
function* randomNumbers(seed: number): Generator<number, never> {
  for (let state = seed; ; ) {
    state = (state * 48_271) % 2_147_483_647;
    yield state / 2_147_483_647;
  }
}

test.each(Array.from({ length: 5 }, (_, index) => index + 1))(
  "no key is lost and the caret stays while values arrive late (example %i)",
  async (seed) => {
    const random = randomNumbers(seed * 7_919);
    const number = (least: number, most: number) => Math.round(least + random.next().value * (most - least));
    // In the order of the reports, as navigations are: a later one is never applied before an earlier one.
    const delays = [number(0, DEBOUNCE_MS)];
    let latest = "";
    render(<Slow delays={delays} onValue={(value) => (latest = value)} />);
    let expected = "";
    for (let count = 0; count < 12; count += 1) {
      const caret = number(0, expected.length);
      const key = String.fromCharCode(97 + number(0, 25));
      field().setSelectionRange(caret, caret);
      press(key);
      expected = expected.slice(0, caret) + key + expected.slice(caret);
      expect(field()).toHaveProperty("value", expected);
      await pass(number(0, 2 * DEBOUNCE_MS));
      expect(field()).toHaveProperty("value", expected);
      expect(field().selectionStart).toBe(caret + 1);
    }
    await pass(10 * DEBOUNCE_MS);
    expect(field()).toHaveProperty("value", expected);
    expect(latest).toBe(expected);
  },
);

function UrlField() {
  const [params, setParams] = useSearchParams();
  const set = (text: string, replace: boolean) => setParams((current) => withParam(current, "q", [text]), { replace });
  return (
    <MantineProvider>
      <SearchField label="Search" value={params.get("q") ?? ""} onSearch={(text) => set(text, true)} />
      <button onClick={() => set("", true)}>Clear filters</button>
    </MantineProvider>
  );
}

function renderInRouter(...entries: string[]) {
  const router = createMemoryRouter([{ path: "/", element: <UrlField /> }], { initialEntries: entries });
  render(<RouterProvider router={router} />);
  return router;
}

test("the text is in the URL after a pause, and keys typed while the URL changes stay", async () => {
  const router = renderInRouter("/");
  for (const key of "checkout") {
    press(key);
    await pass(DEBOUNCE_MS);
  }
  expect(field()).toHaveProperty("value", "checkout");
  await pass(DEBOUNCE_MS);
  expect(router.state.location.search).toBe("?q=checkout");
});

test("back and forward show the search of their entry", async () => {
  const router = renderInRouter("/?q=cart");
  await act(() => router.navigate("/?q=billing"));
  expect(field()).toHaveProperty("value", "billing");
  press("s");
  await pass(2 * DEBOUNCE_MS);
  expect(router.state.location.search).toBe("?q=billings");
  await act(() => router.navigate(-1));
  expect(field()).toHaveProperty("value", "cart");
  await act(() => router.navigate(1));
  expect(field()).toHaveProperty("value", "billings");
});

test("what was typed just before the search was cleared does not come back", async () => {
  const router = renderInRouter("/?q=cart");
  press("s");
  fireEvent.click(screen.getByText("Clear filters"));
  await pass(4 * DEBOUNCE_MS);
  expect(field()).toHaveProperty("value", "");
  expect(router.state.location.search).toBe("");
});

test("white space around a text is not searched for", async () => {
  const onValue = vi.fn();
  render(<Slow delays={[0]} onValue={onValue} />);
  fireEvent.change(field(), { target: { value: "  " } });
  await pass(2 * DEBOUNCE_MS);
  expect(onValue).not.toHaveBeenCalled();
  fireEvent.change(field(), { target: { value: " shop " } });
  await pass(2 * DEBOUNCE_MS);
  expect(onValue.mock.calls).toEqual([["shop"]]);
  expect(field().value).toBe(" shop ");
});
