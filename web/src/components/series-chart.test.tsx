// @vitest-environment jsdom
import "@testing-library/jest-dom/vitest";

import { MantineProvider } from "@mantine/core";
import { render, screen, within } from "@testing-library/react";
import { expect, test, vi } from "vitest";

import { SeriesChart } from "./series-chart";

vi.stubGlobal("matchMedia", () => ({ matches: false, addEventListener() {}, removeEventListener() {} }));
// jsdom has no layout, so the plot itself is seen in the browser's tests.
vi.mock("./series-chart-plot", () => ({ default: () => null }));

test("a chart has a name and a table of its values", () => {
  render(
    <MantineProvider>
      <SeriesChart
        label="Error rate"
        series={[{ name: "errors", label: "Errors", color: "cobalt.6" }]}
        formatValue={(value) => `${value} %`}
        formatTitle={(at) => `second ${at}`}
        points={[
          { at: 60, values: { errors: 2 } },
          { at: 120, values: { errors: null }, mark: { tone: "warning", text: "no data" } },
        ]}
      />
    </MantineProvider>,
  );
  const figure = screen.getByRole("figure", { name: "Error rate" });
  const rows = within(figure)
    .getAllByRole("row")
    .map((row) => row.textContent);
  expect(rows).toEqual(["TimeErrorsResult", "second 602 %", "second 120no valueno data"]);
});
