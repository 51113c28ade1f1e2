// Two deployments of an application side by side: properties, durations of stages, and the logs of a stage as a difference.

import { Anchor, Group, Select, Skeleton, Stack, Table, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense } from "react";
import { Link, useSearchParams } from "react-router";

import { isNotFound } from "../api";
import { EmptyState } from "../components/empty-state";
import { ErrorAlert } from "../components/error-alert";
import { PageHeader } from "../components/page-header";
import { Section } from "../components/section";
import { WebLink } from "../components/web-link";
import { deploymentDisplay } from "../display-names";
import { compareUrl } from "../failure";
import { compareFacts, compareStages, type Row } from "../features/compare/compare";
import classes from "../features/compare/compare.module.css";
import { withParam } from "../filters";
import { deploymentQuery, deploymentsQuery } from "../queries";
import type { Deployment } from "../schema/model/deployment_pb";
import { useStageLog } from "../features/log/use-stage-logs";

const MergeView = lazy(() => import("../features/drift/merge-view"));

export function ComparePage() {
  const [params] = useSearchParams();
  const before = useQuery(deploymentQuery(params.get("from") ?? ""));
  const after = useQuery(deploymentQuery(params.get("to") ?? ""));
  if (before.data && after.data) return <Comparison before={before.data} after={after.data} />;
  if (before.isPending || after.isPending) return <Skeleton height={320} role="status" aria-label="Loading deployments" />;
  const error = [before, after].map((query) => (query.data === undefined ? query.error : null)).find(Boolean);
  if (error && !isNotFound(error)) {
    const retry = () => Promise.all([before.refetch(), after.refetch()]);
    return <ErrorAlert title="The deployments could not be loaded" error={error} retry={retry} />;
  }
  return (
    <>
      <PageHeader title="Compare deployments" parent={{ text: "Deployments", to: "/deployments" }} />
      <EmptyState title="One of the deployments does not exist">Open a deployment and select Compare.</EmptyState>
    </>
  );
}

interface ComparisonProps {
  before: Deployment;
  after: Deployment;
}

function Comparison({ before, after }: ComparisonProps) {
  const [from, to] = [before.trigger?.commit, after.trigger?.commit];
  const comparison = compareUrl(to?.url ?? "", from?.hash ?? "", to?.hash ?? "");
  return (
    <Stack gap="lg">
      <PageHeader
        title={`Compare deployments of ${after.applicationName}`}
        parent={{ text: after.applicationName, to: `/applications/${after.applicationId}` }}
        actions={comparison && <WebLink url={comparison}>Compare the commits</WebLink>}
      />
      <Section title="Properties" flush>
        <Rows rows={compareFacts(before, after)} before={before} after={after} header />
      </Section>
      <Section title="Stages" flush>
        <Rows rows={compareStages(before, after)} before={before} after={after} />
      </Section>
      <Logs before={before} after={after} />
    </Stack>
  );
}

interface RowsProps extends ComparisonProps {
  rows: Row[];
  /** With selects that replace one of the deployments. */
  header?: boolean;
}

function Rows({ rows, before, after, header = false }: RowsProps) {
  return (
    <div className={classes.scroll}>
      <Table verticalSpacing={6} aria-label={header ? "Properties" : "Durations of stages"} layout="fixed" className={classes.table}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{header ? "Deployment" : "Stage"}</Table.Th>
            <Table.Th>{header ? <Choice side="from" selected={before} /> : <Name deployment={before} />}</Table.Th>
            <Table.Th>{header ? <Choice side="to" selected={after} /> : <Name deployment={after} />}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {rows.map((row) => (
            <Table.Tr key={row.name} data-changed={row.before !== row.after || undefined}>
              <Table.Td className={classes.name}>{row.name}</Table.Td>
              <Table.Td className={classes.value}>{row.before || "–"}</Table.Td>
              <Table.Td className={classes.value}>{row.after || "–"}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </div>
  );
}

const Name = ({ deployment }: { deployment: Deployment }) => (
  <Anchor component={Link} to={`/deployments/${deployment.id}`} inherit className="mono">
    {deployment.trigger?.commit?.hash.slice(0, 7)}
  </Anchor>
);

/** Replaces one of the two deployments by another of the application. */
function Choice({ side, selected }: { side: "from" | "to"; selected: Deployment }) {
  const [, setParams] = useSearchParams();
  const filter = { search: "", statuses: [], kinds: [], labels: {}, applicationId: selected.applicationId };
  const recent = useQuery(deploymentsQuery(filter, "", 30)).data?.deployments ?? [];
  const options = recent.some(({ id }) => id === selected.id) ? recent : [selected, ...recent];
  return (
    <Select
      aria-label={side === "from" ? "Earlier deployment" : "Later deployment"}
      allowDeselect={false}
      searchable
      data={options.map((deployment) => ({ value: deployment.id, label: describe(deployment) }))}
      value={selected.id}
      onChange={(value) => value && setParams((params) => withParam(params, side, [value]), { replace: true })}
    />
  );
}

const describe = (deployment: Deployment): string =>
  `${deployment.trigger?.commit?.hash.slice(0, 7) ?? ""} · ${deploymentDisplay(deployment).text} · ${
    deployment.trigger?.commit?.message.split("\n")[0] ?? deployment.id
  }`;

/** The output of a stage that both deployments have, such as a plan. */
function Logs({ before, after }: ComparisonProps) {
  const [params, setParams] = useSearchParams();
  const common = after.stages.filter(({ name }) => before.stages.some((stage) => stage.name === name));
  const names = [...new Set(common.map(({ name }) => name))];
  const name = params.get("stage") ?? names.find((candidate) => candidate.includes("PLAN")) ?? names[0];
  const [first, second] = [before, after].map(({ stages }) => stages.find((stage) => stage.name === name));
  if (!name || !first || !second) return null;
  return (
    <Section
      title="Log"
      aside={
        <Select
          aria-label="Stage"
          size="xs"
          allowDeselect={false}
          data={names}
          value={name}
          onChange={(value) => value && setParams((current) => withParam(current, "stage", [value]), { replace: true })}
        />
      }
    >
      <LogDifference key={`${before.id} ${after.id} ${name}`} before={{ deploymentId: before.id, stageId: first.id }} after={{ deploymentId: after.id, stageId: second.id }} />
    </Section>
  );
}

interface LogOf {
  deploymentId: string;
  stageId: string;
}

function LogDifference({ before, after }: { before: LogOf; after: LogOf }) {
  const first = useStageLog(before.deploymentId, before.stageId);
  const second = useStageLog(after.deploymentId, after.stageId);
  if (!first.loaded || first.loading || !second.loaded || second.loading) return <Skeleton height={160} role="status" aria-label="Loading logs" />;
  const [left, right] = [first, second].map(({ log }) => log.lines.map(({ plain }) => plain).join("\n"));
  if (left === right) {
    return (
      <Group>
        <Text size="sm" className="faint">
          Both deployments logged the same.
        </Text>
      </Group>
    );
  }
  return (
    <Suspense fallback={<Skeleton height={160} />}>
      <MergeView before={left ?? ""} after={right ?? ""} layout="unified" label="Difference of the logs" />
    </Suspense>
  );
}
