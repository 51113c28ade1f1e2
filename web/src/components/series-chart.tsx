// A chart of values over time: lines or bars, with limits, a range per point and marks on points.
// The chart library is loaded when the first chart is shown.

import { Skeleton, Text, VisuallyHidden } from "@mantine/core";
import { lazy, Suspense } from "react";

export interface Series {
  /** Key in the `values` of the points. */
  name: string;
  label: string;
  /** A colour of the theme, such as `cobalt.6`, or of CSS. */
  color: string;
  /** Default: line. */
  type?: "line" | "bar";
  dashed?: boolean;
}

export interface SeriesPoint {
  /** Seconds since 1970. */
  at: number;
  /** By the name of the series; null or absent where there is no value. */
  values: Readonly<Record<string, number | null | undefined>>;
  /** The lowest and the highest value at this time, drawn as an area. */
  range?: readonly [number, number];
  /** Highlights the point of the first series. */
  mark?: { tone: "good" | "bad" | "warning" | "quiet"; text: string };
}

export interface SeriesLimit {
  value: number;
  label: string;
}

export interface SeriesChartProps {
  /** What the chart shows; its accessible name. */
  label: string;
  /** Ascending in time. */
  points: readonly SeriesPoint[];
  series: readonly Series[];
  /** Horizontal lines. */
  limits?: readonly SeriesLimit[];
  /** The allowed values, shaded; null is unbounded. */
  allowed?: { min: number | null; max: number | null };
  /** How the area of the points' `range` is called. */
  rangeLabel?: string;
  formatValue?: (value: number) => string;
  /** The values are counts: the axis has no fractions. */
  counts?: boolean;
  /** Formats a point's `at`, for the axis and for the tooltip. */
  formatTick?: (seconds: number) => string;
  formatTitle?: (seconds: number) => string;
  /** Pixels. */
  height?: number;
}

const Plot = lazy(() => import("./series-chart-plot"));

const shortNumber = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const shortTime = new Intl.DateTimeFormat("en-GB", { timeStyle: "short" });
const fullTime = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

const DEFAULTS = {
  limits: [],
  rangeLabel: "Lowest to highest",
  counts: false,
  formatValue: (value: number) => shortNumber.format(value),
  formatTick: (seconds: number) => shortTime.format(seconds * 1000),
  formatTitle: (seconds: number) => fullTime.format(seconds * 1000),
  height: 220,
};

export type PlotProps = SeriesChartProps & Required<Omit<SeriesChartProps, "allowed">>;

export function SeriesChart(props: SeriesChartProps) {
  const complete: PlotProps = { ...DEFAULTS, ...props };
  return (
    <figure aria-label={props.label} style={{ margin: 0, minWidth: 0 }}>
      {props.points.length > 0 ? (
        <>
          <Suspense fallback={<Skeleton height={complete.height} role="status" aria-label="Loading chart" />}>
            <div aria-hidden>
              <Plot {...complete} />
            </div>
          </Suspense>
          <SeriesTable {...complete} />
        </>
      ) : (
        <Text size="sm" className="faint">
          No values yet
        </Text>
      )}
    </figure>
  );
}

/** The values as a table, for screen readers. */
function SeriesTable({ label, points, series, formatValue, formatTitle }: PlotProps) {
  const marked = points.some(({ mark }) => mark);
  return (
    <VisuallyHidden>
      <table>
        <caption>{label}</caption>
        <thead>
          <tr>
            <th scope="col">Time</th>
            {series.map(({ name, label: text }) => (
              <th key={name} scope="col">
                {text}
              </th>
            ))}
            {marked && <th scope="col">Result</th>}
          </tr>
        </thead>
        <tbody>
          {points.map((point) => (
            <tr key={point.at}>
              <th scope="row">{formatTitle(point.at)}</th>
              {series.map(({ name }) => {
                const value = point.values[name];
                return <td key={name}>{value == null ? "no value" : formatValue(value)}</td>;
              })}
              {marked && <td>{point.mark?.text}</td>}
            </tr>
          ))}
        </tbody>
      </table>
    </VisuallyHidden>
  );
}
