// Delivery figures: how often, how safely and how fast the project deploys, and how fast it repairs.

import { Button, Group, SegmentedControl, Select, SimpleGrid, Skeleton, Stack, Text } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useId, useState } from "react";
import { Link, useSearchParams } from "react-router";

import { EmptyState } from "../components/empty-state";
import { ErrorAlert } from "../components/error-alert";
import { FilterSelect, LabelFilter } from "../components/filter-select";
import { PageHeader } from "../components/page-header";
import { Section } from "../components/section";
import { type Series, SeriesChart, type SeriesPoint } from "../components/series-chart";
import { RelativeTime } from "../components/time";
import { withParam } from "../filters";
import { IconChartBar, IconFilterOff } from "../icons";
import {
  BUCKETS,
  deploymentsPerDay,
  failureRate,
  formatBucket,
  formatFrequency,
  formatMedian,
  formatRate,
  formatShortDuration,
  formatWholeBucket,
  type InsightFilter,
  insightFilter,
  median,
  p90,
  RANGES,
  toCsv,
  type Trend,
  trend,
} from "../insights";
import { kindOptions } from "../kinds";
import { applicationQuery, applicationsQuery, insightsQuery, pipedsQuery } from "../queries";
import type { GetInsightsResponse, InsightFigures } from "../schema/pipecd/v1/insights_pb";
import classes from "./insights.module.css";

const FILTERS = ["application", "kind", "label"];

export function InsightsPage() {
  const [params] = useSearchParams();
  const filter = insightFilter(params);
  const insights = useQuery(insightsQuery(filter));
  const points = insights.data?.points ?? [];
  return (
    <Stack gap="lg">
      <PageHeader
        title="Insights"
        description="How often, how safely and how fast this project deploys, and how fast it repairs."
        actions={
          <Button variant="default" disabled={points.length === 0} onClick={() => download(toCsv(points))}>
            Download CSV
          </Button>
        }
      />
      {insights.data?.recorded !== 0n && <Filters filter={filter} />}
      {insights.isPending ? (
        <Skeleton height={420} role="status" aria-label="Loading insights" />
      ) : insights.isError && !insights.data ? (
        <ErrorAlert title="The insights could not be loaded" error={insights.error} retry={() => insights.refetch()} />
      ) : (
        <div aria-busy={insights.isPlaceholderData}>
          <Figures insights={insights.data} filter={filter} />
        </div>
      )}
    </Stack>
  );
}

function download(csv: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv], { type: "text/csv" }));
  link.download = "insights.csv";
  link.click();
  URL.revokeObjectURL(link.href);
}

function Filters({ filter }: { filter: InsightFilter }) {
  const [params, setParams] = useSearchParams();
  const pipeds = useQuery(pipedsQuery);
  const setValues = (name: string) => (values: string[]) =>
    setParams((current) => withParam(current, name, values), { replace: true });
  return (
    <Group gap="xs" role="search" aria-label="Filter insights">
      <Select
        aria-label="Range"
        data={RANGES.map(({ days, text }) => ({ value: String(days), label: `Last ${text}` }))}
        value={String(filter.days)}
        allowDeselect={false}
        onChange={(value) => {
          if (value) setValues("range")([value]);
        }}
        w={{ base: 138, xs: 150 }}
      />
      <SegmentedControl
        aria-label="One point per"
        data={BUCKETS.map(({ value, text }) => ({ value, label: text }))}
        value={BUCKETS.find(({ bucket }) => bucket === filter.bucket)?.value ?? "day"}
        onChange={(value) => setValues("bucket")([value])}
      />
      <ApplicationFilter id={filter.applicationId} onChange={(id) => setValues("application")(id ? [id] : [])} />
      <FilterSelect
        label="Any kind"
        options={kindOptions(pipeds.data ?? [])}
        selected={params.getAll("kind")}
        onChange={setValues("kind")}
      />
      <LabelFilter selected={params.getAll("label")} onChange={setValues("label")} />
      {FILTERS.some((name) => params.has(name)) && (
        <Button variant="subtle" size="compact-sm" onClick={() => setParams(withoutFilters, { replace: true })}>
          Clear filters
        </Button>
      )}
    </Group>
  );
}

const withoutFilters = (params: URLSearchParams): URLSearchParams =>
  FILTERS.reduce((next, name) => withParam(next, name, []), params);

/** A project may have thousands of applications: only those that match are loaded. */
function ApplicationFilter({ id, onChange }: { id: string; onChange: (id: string | null) => void }) {
  const [search, setSearch] = useState("");
  const [delayed] = useDebouncedValue(search, 200);
  const chosen = useQuery({ ...applicationQuery(id), enabled: id !== "" });
  const query = delayed === chosen.data?.record?.name ? "" : delayed;
  const matching = useQuery(
    applicationsQuery({ search: query, kinds: [], syncStatuses: [], pipedId: "", labels: {}, enabled: null }, ""),
  );
  const options = new Map(matching.data?.applications.map((application) => [application.id, application.name]));
  if (id) options.set(id, chosen.data?.record?.name ?? id);
  return (
    <Select
      aria-label="Application"
      placeholder="Any application"
      data={[...options].map(([value, label]) => ({ value, label }))}
      value={id || null}
      onChange={onChange}
      searchable
      onSearchChange={setSearch}
      nothingFoundMessage="No application matches"
      clearable
      style={{ flex: "1 1 160px", minWidth: 0 }}
    />
  );
}

function Figures({ insights, filter }: { insights: GetInsightsResponse; filter: InsightFilter }) {
  const [, setParams] = useSearchParams();
  const { total, previous, points } = insights;
  if (insights.recorded === 0n || !total || !previous) return <NothingRecorded />;
  if (total.deployments === 0n && previous.deployments === 0n && insights.failingCount === 0) {
    return (
      <EmptyState
        title="No deployment ended in this time"
        icon={<IconFilterOff size={36} stroke={1.5} />}
        action={
          <Button variant="default" mt="sm" onClick={() => setParams(withoutFilters, { replace: true })}>
            Clear filters
          </Button>
        }
      >
        Choose a longer range, or remove a filter.
      </EmptyState>
    );
  }
  return (
    <Stack gap="lg">
      <Summary total={total} previous={previous} now={Number(insights.updatedAt)} />
      {insights.failingCount > 0 && <Failing insights={insights} />}
      <Charts points={points} filter={filter} />
    </Stack>
  );
}

function NothingRecorded() {
  return (
    <EmptyState
      title="No deployment has ended yet"
      icon={<IconChartBar size={36} stroke={1.5} />}
      action={
        <Button component={Link} to="/applications" variant="default" mt="sm">
          View applications
        </Button>
      }
    >
      When the first deployment ends, this page shows how often the project deploys, which share of its changes fails,
      how long a change takes from its commit to production, and how long a failure lasts. Nothing needs to be set up.
    </EmptyState>
  );
}

interface SummaryProps {
  total: InsightFigures;
  previous: InsightFigures;
  now: number;
}

function Summary({ total, previous, now }: SummaryProps) {
  const frequency = total.deployments === 0n ? null : deploymentsPerDay(total, now);
  const frequencyBefore = previous.deployments === 0n ? null : deploymentsPerDay(previous, now);
  const rate = failureRate(total);
  const lead = median(total.leadTime);
  const restore = median(total.timeToRestore);
  const others = total.deployments - total.succeeded;
  // Otherwise each figure would say that there is nothing.
  const comparable = previous.deployments > 0n;
  const compare = (current: number | null, before: number | null, better: "higher" | "lower", format: (value: number) => string) =>
    comparable ? trend(current, before, better, format) : NO_TREND;
  return (
    <Stack gap="xs">
      <SimpleGrid cols={{ base: 1, xs: 2, lg: 4 }} spacing="md">
        <Figure
          name="Deployment frequency"
          value={frequency === null ? null : formatFrequency(frequency)}
          trend={compare(frequency, frequencyBefore, "higher", formatFrequency)}
        >
          {frequency === null
            ? "No deployment ended."
            : `${count(total.succeeded, "deployment")} succeeded${others > 0n ? `, ${others} did not` : ""}.`}
        </Figure>
        <Figure
          name="Change failure rate"
          value={rate === null ? null : formatRate(rate)}
          trend={compare(rate, failureRate(previous), "lower", formatRate)}
        >
          {rate === null
            ? "No change was deployed."
            : total.failures === 0n
              ? `None of ${count(total.changes, "change")} failed.`
              : `${total.failures} of ${count(total.changes, "change")} failed or ${total.failures === 1n ? "was" : "were"} rolled back.`}
        </Figure>
        <Figure
          name="Lead time for changes"
          value={lead === null ? null : formatMedian(lead)}
          trend={compare(lead, median(previous.leadTime), "lower", formatMedian)}
        >
          {lead === null
            ? "No newer commit was deployed."
            : `Median of ${count(total.leadTime?.count ?? 0n, "change")}; 9 of 10 within ${formatMedian(total.leadTime?.p90 ?? 0)}.`}
        </Figure>
        <Figure
          name="Time to restore"
          value={restore === null ? null : formatMedian(restore)}
          trend={compare(restore, median(previous.timeToRestore), "lower", formatMedian)}
        >
          {restore === null
            ? "No failure ended."
            : `Median of ${count(total.timeToRestore?.count ?? 0n, "failure")}; 9 of 10 within ${formatMedian(total.timeToRestore?.p90 ?? 0)}.`}
        </Figure>
      </SimpleGrid>
      {!comparable && (
        <Text size="sm" className="faint">
          No deployment ended in the period before, to compare with.
        </Text>
      )}
    </Stack>
  );
}

const NO_TREND: Trend = { tone: null, direction: null, text: "" };

const count = (number: bigint, noun: string): string => `${number} ${noun}${number === 1n ? "" : "s"}`;

interface FigureProps {
  name: string;
  /** Null if there is none: not the same as zero. */
  value: string | null;
  trend: Trend;
  children: ReactNode;
}

const ARROWS = { up: "↑", down: "↓", same: "" };

function Figure({ name, value, trend: { tone, direction, text }, children }: FigureProps) {
  const id = useId();
  return (
    <section className={`panel ${classes.figure}`} aria-labelledby={id}>
      <h2 id={id}>{name}</h2>
      <p className={classes.value} data-empty={value === null || undefined}>
        {value ?? "–"}
      </p>
      <p className={classes.detail}>{children}</p>
      <p className={classes.trend} data-tone={tone ?? undefined}>
        {direction && direction !== "same" && (
          <span aria-label={`${direction}, ${tone === "good" ? "better" : "worse"}`} role="img">
            {ARROWS[direction]}
          </span>
        )}
        {text}
      </p>
    </section>
  );
}

function Failing({ insights }: { insights: GetInsightsResponse }) {
  const more = insights.failingCount - insights.failing.length;
  return (
    <Section title="Failing now">
      <Stack gap={6}>
        {insights.failing.slice(0, 10).map(({ applicationId, applicationName, since }) => (
          <Group key={applicationId} justify="space-between" gap="sm" wrap="nowrap">
            <Link to={`/applications/${applicationId}`} className="link" style={{ minWidth: 0, overflowWrap: "anywhere" }}>
              <Text span size="sm" fw={600}>
                {applicationName}
              </Text>
            </Link>
            <Text size="sm" className="faint" style={{ flexShrink: 0 }}>
              since <RelativeTime at={since} />
            </Text>
          </Group>
        ))}
        {insights.failing.length > 10 || more > 0 ? (
          <Text size="sm" className="faint">
            {insights.failingCount - 10} more fail.
          </Text>
        ) : null}
      </Stack>
    </Section>
  );
}

interface ChartsProps {
  points: readonly InsightFigures[];
  filter: InsightFilter;
}

type Values = (point: InsightFigures) => Record<string, number | null>;
const DURATIONS: Series[] = [
  { name: "median", label: "Median", color: "cobalt.5", type: "bar" },
  { name: "p90", label: "9 of 10 within", color: "grape.5", dashed: true },
];

function Charts({ points, filter }: ChartsProps) {
  const of = (values: Values): SeriesPoint[] =>
    points.map((point) => ({ at: Number(point.start), values: values(point) }));
  const times = {
    formatTick: (seconds: number) => formatBucket(filter.bucket, seconds),
    formatTitle: (seconds: number) => formatWholeBucket(filter.bucket, seconds),
  };
  return (
    <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="md">
      <Chart title="Deployment frequency" definition="Deployments that ended, by their result.">
        <SeriesChart
          label="Deployment frequency"
          points={of((point) => ({
            succeeded: Number(point.succeeded),
            others: Number(point.deployments - point.succeeded),
          }))}
          series={[
            { name: "succeeded", label: "Succeeded", color: "teal.6", type: "bar" },
            { name: "others", label: "Failed or cancelled", color: "red.5", type: "bar" },
          ]}
          counts
          {...times}
        />
      </Chart>
      <Chart
        title="Change failure rate"
        definition="The share of changes that failed, were rolled back, or were taken back within 24 hours."
      >
        <SeriesChart
          label="Change failure rate"
          points={of((point) => ({ rate: failureRate(point) }))}
          series={[{ name: "rate", label: "Failed changes", color: "red.5", type: "bar" }]}
          formatValue={formatRate}
          {...times}
        />
      </Chart>
      <Chart
        title="Lead time for changes"
        definition="From the first commit that a deployment brought to its success."
        empty={points.every(({ leadTime }) => median(leadTime) === null)}
      >
        <SeriesChart
          label="Lead time for changes"
          points={of(({ leadTime }) => ({ median: median(leadTime), p90: p90(leadTime) }))}
          series={DURATIONS}
          formatValue={formatShortDuration}
          {...times}
        />
      </Chart>
      <Chart
        title="Time to restore"
        definition="From the first failed change of an application to its next success, where the failure ended."
        empty={points.every(({ timeToRestore }) => median(timeToRestore) === null)}
      >
        <SeriesChart
          label="Time to restore"
          points={of(({ timeToRestore }) => ({ median: median(timeToRestore), p90: p90(timeToRestore) }))}
          series={DURATIONS}
          formatValue={formatShortDuration}
          {...times}
        />
      </Chart>
    </SimpleGrid>
  );
}

interface ChartProps {
  title: string;
  definition: string;
  /** Whether no point has a value: an empty plot would look like zero. */
  empty?: boolean;
  children: ReactNode;
}

function Chart({ title, definition, empty = false, children }: ChartProps) {
  return (
    <Section title={`${title} over time`}>
      <p className={classes.definition}>{definition}</p>
      {empty ? (
        <Text size="sm" className="faint" py="xl" ta="center">
          Nothing was measured in this time.
        </Text>
      ) : (
        children
      )}
    </Section>
  );
}
