// The part of the series chart that needs the chart library. Use `SeriesChart`, which loads it.

import "@mantine/charts/styles.css";

import { type ChartReferenceLineProps, CompositeChart } from "@mantine/charts";
import { getThemeColor, useMantineTheme } from "@mantine/core";
import { Area, ReferenceArea } from "recharts";

import type { PlotProps, SeriesPoint } from "./series-chart";
import classes from "./series-chart.module.css";

export default function SeriesChartPlot({
  points,
  series,
  limits,
  allowed,
  rangeLabel,
  formatValue,
  counts,
  formatTick,
  formatTitle,
  height,
}: PlotProps) {
  const bars = series.some(({ type }) => type === "bar");
  const data = points.map(({ at, values, range, mark }) => ({ ...values, at, range, mark }));
  const lines: ChartReferenceLineProps[] = limits.map(({ value, label }) => ({
    y: value,
    label,
    color: "var(--limit)",
    ifOverflow: "extendDomain",
    labelPosition: "insideTopLeft",
  }));
  const [first] = series;
  return (
    <div className={classes.plot}>
      {series.length > 1 && <Legend series={series} />}
      <CompositeChart
        h={height}
        data={data}
        dataKey="at"
        series={series.map(({ name, label, color, type = "line", dashed }) => ({
          name,
          label,
          color,
          type,
          ...(dashed ? { strokeDasharray: "5 4" } : {}),
        }))}
        curveType="linear"
        connectNulls={false}
        referenceLines={lines}
        valueFormatter={formatValue}
        tooltipAnimationDuration={0}
        maxBarWidth={28}
        xAxisProps={{
          tickFormatter: formatTick,
          minTickGap: 40,
          ...(bars ? {} : { type: "number", domain: ["dataMin", "dataMax"], scale: "time" }),
        }}
        yAxisProps={{ domain: bars ? [0, "auto"] : ["auto", "auto"], width: 68, allowDecimals: !counts }}
        lineProps={({ name }) => ({
          isAnimationActive: false,
          dot: (props) => <PointDot key={(props.payload as SeriesPoint).at} {...props} marked={name === first?.name} />,
        })}
        barProps={{ isAnimationActive: false }}
        composedChartProps={{ accessibilityLayer: false, margin: { top: 8, right: 12 } }}
        tooltipProps={{
          content: ({ payload }) => (
            <PlotTooltip
              point={payload[0]?.payload as (SeriesPoint & Record<string, unknown>) | undefined}
              series={series}
              rangeLabel={rangeLabel}
              formatValue={formatValue}
              formatTitle={formatTitle}
            />
          ),
        }}
      >
        {allowed && (
          <ReferenceArea
            {...edges(allowed)}
            className={classes.allowed}
            ifOverflow="hidden"
          />
        )}
        {points.filter(({ range }) => range).length > 1 && (
          <Area
            dataKey="range"
            type="linear"
            stroke="none"
            className={classes.range}
            dot={false}
            activeDot={false}
            isAnimationActive={false}
            legendType="none"
            tooltipType="none"
          />
        )}
      </CompositeChart>
    </div>
  );
}

/** Without `y1`, recharts draws the area from the top of the plot; without `y2`, to its bottom. */
function edges({ min, max }: { min: number | null; max: number | null }): { y1?: number; y2?: number } {
  if (min !== null && max !== null) return { y1: min, y2: max };
  if (max !== null) return { y1: max };
  return min === null ? {} : { y2: min };
}

function Legend({ series }: Pick<PlotProps, "series">) {
  const theme = useMantineTheme();
  return (
    <ul role="list" className={classes.legend}>
      {series.map(({ name, label, color }) => (
        <li key={name}>
          <span style={{ background: getThemeColor(color, theme) }} />
          {label}
        </li>
      ))}
    </ul>
  );
}

interface PointDotProps {
  cx?: number;
  cy?: number;
  payload: SeriesPoint;
  stroke?: string;
  marked: boolean;
}

function PointDot({ cx, cy, payload, stroke, marked }: PointDotProps) {
  if (cx === undefined || cy === undefined || !Number.isFinite(cy)) return null;
  const tone = marked ? payload.mark?.tone : undefined;
  return (
    <circle
      cx={cx}
      cy={cy}
      r={tone === "bad" ? 5.5 : tone ? 4.5 : 2.5}
      fill={stroke}
      className={classes.dot}
      data-tone={tone}
    />
  );
}

interface PlotTooltipProps extends Pick<PlotProps, "series" | "rangeLabel" | "formatValue" | "formatTitle"> {
  point: (SeriesPoint & Record<string, unknown>) | undefined;
}

function PlotTooltip({ point, series, rangeLabel, formatValue, formatTitle }: PlotTooltipProps) {
  if (!point) return null;
  const { mark, range } = point;
  return (
    <div className={classes.tooltip}>
      <strong>{formatTitle(point.at)}</strong>
      <dl>
        {series.map(({ name, label }) => {
          const value = point[name];
          return (
            <div key={name}>
              <dt>{label}</dt>
              <dd>{typeof value === "number" ? formatValue(value) : "no value"}</dd>
            </div>
          );
        })}
        {range && (
          <div>
            <dt>{rangeLabel}</dt>
            <dd>
              {formatValue(range[0])} to {formatValue(range[1])}
            </dd>
          </div>
        )}
      </dl>
      {mark && (
        <p data-tone={mark.tone} className={classes.mark}>
          {mark.text}
        </p>
      )}
    </div>
  );
}
