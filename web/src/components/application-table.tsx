// The table of applications.

import { Table, Text } from "@mantine/core";
import { Link } from "react-router";

import { syncStatusDisplay } from "../display-names";
import { kindName, kindOf } from "../kinds";
import type { Application } from "../schema/model/application_pb";
import { ApplicationSyncStatus } from "../schema/model/application_pb";
import { CommitLine } from "./commit";
import { Labels } from "./labels";
import { StatusBadge } from "./status";
import classes from "./table.module.css";
import { RelativeTime } from "./time";

interface ApplicationTableProps {
  applications: Application[];
  pipedName: (id: string) => string;
}

/** DEPLOYING while a deployment is in progress, whatever the last comparison reported. */
export function displayedSyncStatus(application: Application): ApplicationSyncStatus {
  if (application.deploying) return ApplicationSyncStatus.DEPLOYING;
  return application.syncState?.status ?? ApplicationSyncStatus.UNKNOWN;
}

export function ApplicationTable({ applications, pipedName }: ApplicationTableProps) {
  return (
    <Table className={classes.table} verticalSpacing="sm" highlightOnHover aria-label="Applications">
      <Table.Thead>
        <Table.Tr>
          <Table.Th w={150}>Status</Table.Th>
          <Table.Th>Application</Table.Th>
          <Table.Th visibleFrom="md">Kind</Table.Th>
          <Table.Th visibleFrom="sm">Running commit</Table.Th>
          <Table.Th visibleFrom="lg">Piped</Table.Th>
          <Table.Th visibleFrom="md">Deployed</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {applications.map((application) => (
          <Row key={application.id} application={application} piped={pipedName(application.pipedId)} />
        ))}
      </Table.Tbody>
    </Table>
  );
}

function Row({ application, piped }: { application: Application; piped: string }) {
  const running = application.mostRecentlySuccessfulDeployment;
  return (
    <Table.Tr data-disabled={application.disabled || undefined}>
      <Table.Td>
        <StatusBadge status={syncStatusDisplay(displayedSyncStatus(application))} />
      </Table.Td>
      <Table.Td>
        <Link to={`/applications/${application.id}`} className={classes.name}>
          {application.name}
        </Link>
        {application.disabled && (
          <Text span size="xs" className="faint">
            {" "}
            disabled
          </Text>
        )}
        {application.description && (
          <Text size="xs" className="faint" lineClamp={1}>
            {application.description}
          </Text>
        )}
        <Labels labels={application.labels} />
      </Table.Td>
      <Table.Td visibleFrom="md">{kindName(kindOf(application))}</Table.Td>
      <Table.Td visibleFrom="sm" className={classes.commit}>
        {running ? <CommitLine commit={running.trigger?.commit} /> : <span className="faint">Never deployed</span>}
      </Table.Td>
      <Table.Td visibleFrom="lg">{piped}</Table.Td>
      <Table.Td visibleFrom="md" className={classes.time}>
        {running ? <RelativeTime at={running.completedAt || running.startedAt} /> : <span className="faint">–</span>}
      </Table.Td>
    </Table.Tr>
  );
}
