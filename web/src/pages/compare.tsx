// Two deployments of an application side by side: properties, durations of stages, and the logs of a stage as a difference.

import { Anchor, Button, Group, Select, Skeleton, Stack, Table, Text } from "@mantine/core";
import { usePrefetchQuery, useQuery } from "@tanstack/react-query";
import { lazy, Suspense } from "react";
import { Link, useSearchParams } from "react-router";

import { Breakable } from "../components/breakable";
import { EmptyState } from "../components/empty-state";
import { LinkNotice } from "../components/left-out-params";
import { PageHeader } from "../components/page-header";
import { RecordPage } from "../components/record-page";
import { Section } from "../components/section";
import tableClasses from "../components/table.module.css";
import { WebLink } from "../components/web-link";
import { deploymentDisplay } from "../display-names";
import { compareUrl } from "../failure";
import { compareFacts, compareStages, type Row } from "../features/compare/compare";
import classes from "../features/compare/compare.module.css";
import { withParam } from "../filters";
import { deploymentQuery, deploymentsQuery } from "../queries";
import type { Deployment } from "../schema/model/deployment_pb";
import type { PipelineStage } from "../schema/model/stage_pb";
import { useStageLog } from "../features/log/use-stage-logs";

const MergeView = lazy(() => import("../features/drift/merge-view"));

const PARENT = { text: "Deployments", to: "/deployments" };

export function ComparePage() {
  const [params] = useSearchParams();
  const [from, to] = [params.get("from") ?? "", params.get("to") ?? ""];
  if (!from || !to) return <NothingChosen />;
  return <ChosenDeployments from={from} to={to} />;
}

function NothingChosen() {
  return (
    <>
      <PageHeader title="Compare deployments" parent={PARENT} />
      <EmptyState
        title="No deployments to compare"
        action={
          <Button component={Link} to="/deployments" variant="default" mt="sm">
            View deployments
          </Button>
        }
      >
        The link names one deployment only, or none. Open a deployment and select Compare.
      </EmptyState>
    </>
  );
}

function ChosenDeployments({ from, to }: { from: string; to: string }) {
  usePrefetchQuery(deploymentQuery(to));
  return (
    <RecordPage noun="deployment" id={from} query={deploymentQuery(from)} parent={PARENT} height={320}>
      {(before) => (
        <RecordPage noun="deployment" id={to} query={deploymentQuery(to)} parent={PARENT} height={320}>
          {(after) => <Comparison before={before} after={after} />}
        </RecordPage>
      )}
    </RecordPage>
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
      <Table verticalSpacing={6} aria-label={header ? "Properties" : "Durations of stages"} layout="fixed" className={`${tableClasses.table} ${classes.table}`}>
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
              <Table.Td className={classes.name}>
                <Breakable text={row.name} />
              </Table.Td>
              <Table.Td className={classes.value}><Breakable text={row.before || "–"} /></Table.Td>
              <Table.Td className={classes.value}><Breakable text={row.after || "–"} /></Table.Td>
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
  const requested = params.get("stage") ?? "";
  const name = names.find((candidate) => candidate === requested) ?? names.find((candidate) => candidate.includes("PLAN")) ?? names[0];
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
      {requested && requested !== name && (
        <LinkNotice to={{ search: withParam(params, "stage", []).toString() }}>
          The deployments have no stage {requested.slice(0, 100)} in common. The log of {name} is shown.
        </LinkNotice>
      )}
      <LogDifference key={`${before.id} ${after.id} ${name}`} before={{ deployment: before, stage: first }} after={{ deployment: after, stage: second }} />
    </Section>
  );
}

interface LogOf {
  deployment: Deployment;
  stage: PipelineStage;
}

function LogDifference({ before, after }: { before: LogOf; after: LogOf }) {
  const first = useStageLog(before.deployment, before.stage);
  const second = useStageLog(after.deployment, after.stage);
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
