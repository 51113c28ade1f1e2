// @vitest-environment jsdom
import { MantineProvider, type MultiSelectProps, type SelectProps } from "@mantine/core";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { stubBrowser } from "../testing/console";
import { FilterChoice, FilterSelect } from "./filter-select";

const rendered: string[] = [];
vi.mock("@mantine/core", async (original) => {
  const mantine = await original<typeof import("@mantine/core")>();
  const counted = <Props extends object>(name: string, Field: React.ComponentType<Props>) =>
    function Counted(props: Props) {
      rendered.push(name);
      return <Field {...props} />;
    };
  return {
    ...mantine,
    MultiSelect: counted<MultiSelectProps>("several", mantine.MultiSelect),
    Select: counted<SelectProps>("one", mantine.Select),
  };
});

beforeEach(() => {
  stubBrowser();
  rendered.length = 0;
});
afterEach(cleanup);

const fields = (kind: string[], change: (values: string[]) => void) => (
  <MantineProvider env="test">
    <FilterSelect label="Any kind" options={[{ value: "ecs", label: "ECS" }]} selected={kind} onChange={change} />
    <FilterChoice aria-label="Piped" data={[{ value: "p", label: "tokyo" }]} value={null} onChange={() => undefined} />
  </MantineProvider>
);

test("a field is rendered only if what it shows changed, and reports to the newest handler", () => {
  const [first, second] = [vi.fn(), vi.fn()];
  const { rerender } = render(fields([], first));
  const before = rendered.length;
  rerender(fields([], second));
  expect(rendered.slice(before)).toEqual([]);
  fireEvent.click(screen.getByRole("combobox", { name: "Any kind" }));
  fireEvent.click(screen.getByRole("option", { name: "ECS", hidden: true }));
  expect([first.mock.calls, second.mock.calls]).toEqual([[], [[["ecs"]]]]);
  rerender(fields(["ecs"], second));
  expect(rendered.slice(before)).toEqual(["several"]);
});
