// What needs a person: approvals, failed deployments, invalid configuration, agents that are offline, and drift.

import type { DescMethod } from "@bufbuild/protobuf";
import { Anchor, Skeleton, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Link } from "react-router";

import { awaitsApprovalOf } from "../attention";
import classes from "../components/attention.module.css";
import { EmptyState } from "../components/empty-state";
import { ErrorAlert } from "../components/error-alert";
import { PageHeader } from "../components/page-header";
import { Section } from "../components/section";
import { StatusIcon } from "../components/status";
import { RelativeTime } from "../components/time";
import {
  connectionStatusDisplay,
  deploymentDisplay,
  type StatusDisplay,
  stageDisplay,
  syncStatusDisplay,
} from "../display-names";
import { describeFailure } from "../failure";
import { applicationFilter, slug } from "../filters";
import { IconCircleCheck } from "../icons";
import { applicationsQuery, lastFailedDeploymentsQuery, meQuery, pipedsQuery, runningDeploymentsQuery } from "../queries";
import { ApplicationSyncStatus } from "../schema/model/application_pb";
import { Piped_ConnectionStatus } from "../schema/model/piped_pb";
import { ConsoleService } from "../schema/pipecd/v1/console_pb";
import { WebService } from "../schema/web/service_pb";
import { canApprove } from "../stages";
import { useMay } from "../use-may";

interface Item {
  id: string;
  status: StatusDisplay;
  to: string;
  name: string;
  reason: string;
  /** Seconds since 1970; 0 if unknown. */
  at: bigint | number;
}

interface Group {
  title: string;
  /** The call that lists them. Without the right to make it, the group is left out. */
  needs: DescMethod;
  items: Item[] | undefined;
  error: Error | null;
  /** Where all items are, if there may be more. */
  more?: { to: string; total: number };
}

export function AttentionPage() {
  const may = useMay();
  const groups = [useApprovals(), useFailures(), useInvalid(), usePipeds(), useDrift()].filter(({ needs }) => may(needs));
  const shown = groups.filter(({ items, error }) => error || (items && items.length > 0));
  // A group that came later than those below it would move them.
  const isAnswered = groups.every(({ items, error }) => items ?? error);
  const isComplete = groups.every(({ items }) => items);
  return (
    <Stack gap="lg">
      <PageHeader title="Needs attention" />
      {!isAnswered && <Skeleton height={320} role="status" aria-label="Loading what needs attention" />}
      {isAnswered && shown.map((group) => <AttentionSection key={group.title} group={group} />)}
      {isComplete && shown.length === 0 && (
        <EmptyState title="Nothing needs attention" icon={<IconCircleCheck size={36} stroke={1.5} />}>
          No approval is waiting, the last deployment of every application succeeded, and all pipeds are online.
        </EmptyState>
      )}
    </Stack>
  );
}

function useApprovals(): Group {
  const me = useQuery(meQuery);
  const may = useMay();
  const { data, error } = useQuery(runningDeploymentsQuery);
  const items = data
    ?.filter((deployment) => awaitsApprovalOf(deployment, me.data?.subject ?? "", may))
    .map((deployment): Item => {
      const stage = deployment.stages.find(canApprove);
      return {
        id: deployment.id,
        status: stage ? stageDisplay(stage) : deploymentDisplay(deployment),
        to: `/deployments/${deployment.id}${stage ? `?stage=${encodeURIComponent(stage.id)}` : ""}`,
        name: deployment.applicationName,
        reason: deployment.trigger?.commit?.message.split("\n")[0] ?? deployment.summary,
        at: stage?.updatedAt ?? deployment.updatedAt,
      };
    });
  return { title: "Waiting for your approval", needs: ConsoleService.method.pageDeployments, items, error };
}

function useFailures(): Group {
  const { data, error } = useQuery(lastFailedDeploymentsQuery);
  const items = data?.map((deployment) => ({
    id: deployment.id,
    status: deploymentDisplay(deployment),
    to: `/deployments/${deployment.id}`,
    name: deployment.applicationName,
    reason: describeFailure(deployment)?.sentence ?? deployment.statusReason,
    at: deployment.completedAt,
  }));
  return { title: "Last deployment failed", needs: ConsoleService.method.pageDeployments, items, error };
}

const useInvalid = (): Group => useApplications("Invalid configuration", ApplicationSyncStatus.INVALID_CONFIG);
const useDrift = (): Group => useApplications("Differs from Git", ApplicationSyncStatus.OUT_OF_SYNC);

function useApplications(title: string, status: ApplicationSyncStatus): Group {
  const filter = { ...applicationFilter(new URLSearchParams()), syncStatuses: [status], enabled: true };
  const { data, error } = useQuery(applicationsQuery(filter, ""));
  const items = data?.applications.map((application) => ({
    id: application.id,
    status: syncStatusDisplay(status),
    to: `/applications/${application.id}`,
    name: application.name,
    reason: application.syncState?.shortReason ?? "",
    at: application.syncState?.timestamp ?? 0,
  }));
  const to = `/applications?status=${slug(ApplicationSyncStatus, status)}&state=enabled`;
  return { title, needs: ConsoleService.method.pageApplications, items, error, more: { to, total: Number(data?.total ?? 0) } };
}

function usePipeds(): Group {
  const { data, error } = useQuery(pipedsQuery);
  const items = data
    ?.filter((piped) => !piped.disabled && piped.status === Piped_ConnectionStatus.OFFLINE)
    .map((piped) => ({
      id: piped.id,
      status: connectionStatusDisplay(piped.status),
      to: "/pipeds",
      name: piped.name,
      reason: "Its applications are neither deployed nor compared with Git.",
      at: 0,
    }));
  return { title: "Pipeds offline", needs: WebService.method.listPipeds, items, error };
}

const ITEMS_SHOWN = 10;

function AttentionSection({ group }: { group: Group }) {
  const { title, items = [], error, more } = group;
  const total = Math.max(items.length, more?.total ?? 0);
  return (
    <Section
      title={total > 0 ? `${title} (${total})` : title}
      flush
      aside={
        more && total > ITEMS_SHOWN ? (
          <Anchor component={Link} size="sm" to={more.to}>
            View all
          </Anchor>
        ) : null
      }
    >
      {error && items.length === 0 && <ErrorAlert title="This list could not be loaded" error={error} />}
      <ul role="list" className={classes.list}>
        {items.slice(0, more ? ITEMS_SHOWN : undefined).map((item) => (
          <Row key={item.id} item={item} />
        ))}
      </ul>
    </Section>
  );
}

function Row({ item }: { item: Item }): ReactNode {
  return (
    <li className={classes.row}>
      <StatusIcon status={item.status} />
      <Link to={item.to} className={classes.name} title={item.name}>
        {item.name}
      </Link>
      <Text size="sm" className={`faint ${classes.reason ?? ""}`} title={item.reason}>
        {item.reason}
      </Text>
      <Text size="xs" className={`faint ${classes.time ?? ""}`}>
        {Number(item.at) > 0 && <RelativeTime at={item.at} />}
      </Text>
    </li>
  );
}
