// The checks of an ANALYSIS stage: for each metric the sentence, then its chart.

import { Badge, Code, Group, Stack, Text, Title } from "@mantine/core";

import { type AnalysisEntry, analysisChart, analysisEntries, decisiveCheck, reason, tone } from "../analysis";
import type { PipelineStage } from "../schema/model/stage_pb";
import { formatTime } from "../time";
import classes from "./analysis-panel.module.css";
import { SeriesChart } from "./series-chart";
import { WebLink } from "./web-link";

export function AnalysisPanel({ stage }: { stage: PipelineStage }) {
  const entries = analysisEntries(stage);
  if (entries.length === 0) return null;
  return (
    <div className={classes.panel} role="group" aria-label="Analysis">
      {entries.map((entry) => (
        <EntryPanel key={entry.id} entry={entry} />
      ))}
    </div>
  );
}

function EntryPanel({ entry }: { entry: AnalysisEntry }) {
  const check = decisiveCheck(entry);
  const chart = analysisChart(entry);
  return (
    <section className={classes.entry} aria-label={entry.name || entry.id}>
      <Group justify="space-between" gap="xs">
        <Title order={3} size="h6">
          {entry.name || entry.id}
        </Title>
        <Text size="xs" className="faint">
          {entry.passed} passed, {failures(entry)}
        </Text>
      </Group>
      {check && (
        <Group gap="xs" wrap="nowrap" align="flex-start">
          <Badge className={classes.verdict} data-tone={tone(check)} variant="light">
            {check.verdict.replace("-", " ")}
          </Badge>
          <Text size="sm">
            At {formatTime(check.at)}: {reason(entry, check)}
          </Text>
        </Group>
      )}
      {chart && <SeriesChart {...chart} />}
      {(entry.query || entry.link) && (
        <Stack gap={2}>
          {entry.query && (
            <Code block className={classes.query}>
              {entry.query}
            </Code>
          )}
          {entry.link && (
            <Text size="sm">
              <WebLink url={entry.link}>Graph of the provider</WebLink>
            </Text>
          )}
        </Stack>
      )}
    </section>
  );
}

const failures = ({ failed, allowedFailures }: AnalysisEntry): string =>
  allowedFailures > 0 ? `${failed} failed, ${allowedFailures} allowed` : `${failed} failed`;
