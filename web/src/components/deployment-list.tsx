// The list of deployments, newest first: status, commit, progress and duration. Deployments of one push are one row.

import { Text, UnstyledButton } from "@mantine/core";
import { memo, useState } from "react";

import { arrange, type CommitGroup, countApplications, durationOf, isGroup, longestDuration } from "../deployment-groups";
import { deploymentDisplay, isDeploymentCompleted, type StatusDisplay } from "../display-names";
import { reasonOf } from "../failure";
import { RollBackButton } from "../features/pin/roll-back";
import { groupBy } from "../group-by";
import { IconChevronRight } from "../icons";
import { kindName, kindOf } from "../kinds";
import type { Deployment } from "../schema/model/deployment_pb";
import { formatDuration } from "../time";
import { CommitHash } from "./commit";
import classes from "./deployment-list.module.css";
import { PipelineDots } from "./pipeline-dots";
import { RowLink } from "./row-link";
import { StatusBadge } from "./status";
import { RelativeTime, useNow } from "./time";

interface DeploymentListProps {
  deployments: Deployment[];
  /** All deployments belong to one application: its name and kind are omitted, and it can be rolled back. */
  singleApplication?: boolean;
}

export function DeploymentList({ deployments, singleApplication = false }: DeploymentListProps) {
  return (
    <ul role="list" className={classes.list}>
      <Rows deployments={deployments} longest={useLongest(deployments)} singleApplication={singleApplication} />
    </ul>
  );
}

/** Those that run, those that wait, and the others by day. */
export function DeploymentDays({ deployments }: Pick<DeploymentListProps, "deployments">) {
  const longest = useLongest(deployments);
  return arrange(deployments).map(({ title, items }) => (
    <section key={title} aria-label={title}>
      <Text component="h2" size="sm" fw={600} className="faint" mb={6}>
        {title}
      </Text>
      <div className="panel">
        <ul role="list" className={classes.list}>
          {items.map((item) =>
            isGroup(item) ? (
              <Group key={item.hash} group={item} longest={longest} />
            ) : (
              <Row key={item.id} deployment={item} longest={longest} />
            ),
          )}
        </ul>
      </div>
    </section>
  ));
}

/** Of those that have ended: the longest duration in seconds. Bars of running ones end there. */
function useLongest(deployments: readonly Deployment[]): number {
  return longestDuration(
    deployments.filter(({ status }) => isDeploymentCompleted(status)),
    0,
  );
}

interface RowsProps extends DeploymentListProps {
  longest: number;
}

function Rows({ deployments, longest, singleApplication }: RowsProps) {
  return deployments.map((deployment) => (
    <Row key={deployment.id} deployment={deployment} longest={longest} singleApplication={singleApplication} />
  ));
}

/** The deployments of one push. */
function Group({ group, longest }: { group: CommitGroup; longest: number }) {
  const [opened, setOpened] = useState(false);
  const { deployments } = group;
  const commit = deployments[0]?.trigger?.commit;
  const byStatus = groupBy(deployments, (deployment) => deploymentDisplay(deployment).text);
  return (
    <li>
      <UnstyledButton className={classes.group} aria-expanded={opened} onClick={() => setOpened(!opened)}>
        <IconChevronRight size={16} aria-hidden className={classes.chevron} />
        <span className={classes.groupTitle}>
          <strong>{countApplications(deployments)} applications</strong>{" "}
          <span className="faint">
            <span className="mono">{group.hash.slice(0, 7)}</span> {commit?.message.split("\n")[0]}
          </span>
        </span>
        <span className={classes.counts}>
          {[...byStatus].map(([text, ofStatus]) => (
            <StatusBadge key={text} status={countDisplay(ofStatus)} />
          ))}
        </span>
      </UnstyledButton>
      {opened && (
        <ul role="list" className={classes.nested} aria-label={`Deployments of ${group.hash.slice(0, 7)}`}>
          <Rows deployments={deployments} longest={longest} />
        </ul>
      )}
    </li>
  );
}

function countDisplay(deployments: readonly Deployment[]): StatusDisplay {
  const [first] = deployments;
  if (!first) return { text: "0", tone: "quiet" };
  const { text, tone } = deploymentDisplay(first);
  return { text: `${deployments.length} ${text.toLowerCase()}`, tone };
}

interface RowProps {
  deployment: Deployment;
  /** In seconds: the duration of a full bar. */
  longest: number;
  singleApplication?: boolean;
}

/** Rendered only if its deployment changed. */
const Row = memo(function Row({ deployment, longest, singleApplication = false }: RowProps) {
  const completed = isDeploymentCompleted(deployment.status);
  const commit = deployment.trigger?.commit;
  const display = deploymentDisplay(deployment);
  const message = commit?.message.split("\n")[0] ?? "";
  const failed = completed && display.tone !== "good" && deployment.statusReason;
  const note = failed ? reasonOf(deployment) : singleApplication ? `by ${authorName(commit?.author)}` : message;
  return (
    <li className={classes.row}>
      <span className={classes.status}>
        <StatusBadge status={display} />
      </span>
      <span className={classes.summary}>
        <RowLink to={`/deployments/${deployment.id}`} className={classes.name} title={deployment.summary}>
          {singleApplication ? message || deployment.id : deployment.applicationName}
        </RowLink>
        <span className={classes.note} title={note}>
          {commit && <CommitHash hash={commit.hash} url={commit.url} />} {note}
        </span>
      </span>
      <span className={classes.progress}>
        <PipelineDots stages={deployment.stages} />
        {!singleApplication && <span className={classes.kind}>{kindName(kindOf(deployment))}</span>}
      </span>
      <DurationBar deployment={deployment} longest={longest} tone={display.tone} />
      <span className={classes.time}>
        <RelativeTime at={deployment.createdAt} />
      </span>
      {singleApplication && (
        <span className={classes.action}>
          <RollBackButton deployment={deployment} compact />
        </span>
      )}
    </li>
  );
});

const authorName = (author = ""): string => author.replace(/ <.*/, "");

function DurationBar({ deployment, longest, tone }: Omit<RowProps, "singleApplication"> & { tone: StatusDisplay["tone"] }) {
  return isDeploymentCompleted(deployment.status) ? (
    <Bar seconds={durationOf(deployment, 0)} longest={longest} tone={tone} />
  ) : (
    <RunningBar deployment={deployment} longest={longest} tone={tone} />
  );
}

function RunningBar({ deployment, longest, tone }: Omit<RowProps, "singleApplication"> & { tone: StatusDisplay["tone"] }) {
  return <Bar seconds={durationOf(deployment, useNow())} longest={longest} tone={tone} />;
}

function Bar({ seconds, longest, tone }: { seconds: number; longest: number; tone: StatusDisplay["tone"] }) {
  const percentage = Math.min(100, Math.max(3, (100 * seconds) / longest));
  return (
    <span className={classes.duration}>
      <span className={classes.bar} data-tone={tone} aria-hidden>
        <span style={{ width: `${percentage}%` }} />
      </span>
      {formatDuration(seconds)}
    </span>
  );
}
