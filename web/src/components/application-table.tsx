// The table of applications.

import { type Dispatch, memo, type SetStateAction, useCallback } from "react";

import { lastDeploymentFailed } from "../attention";
import {
  deploymentStatusDisplay,
  type StatusDisplay,
  syncStatusDisplay,
  WAITING_FOR_APPROVAL,
} from "../display-names";
import { PinnedMark } from "../features/pin/pinned-mark";
import { kindName, kindOf } from "../kinds";
import type { Application } from "../schema/model/application_pb";
import { ApplicationSyncStatus } from "../schema/model/application_pb";
import { DeploymentStatus } from "../schema/model/deployment_pb";
import { CommitLine } from "./commit";
import { Labels } from "./labels";
import { RowCheckbox } from "./row-checkbox";
import { RowLink } from "./row-link";
import { StatusBadge, StatusIcon } from "./status";
import classes from "./application-table.module.css";
import { RelativeTime } from "./time";

interface ApplicationTableProps {
  applications: Application[];
  /** IDs of the applications whose deployment waits for an approval. */
  waiting: ReadonlySet<string>;
  pipedName: (id: string) => string;
  selected: ReadonlySet<string>;
  onSelect: Dispatch<SetStateAction<ReadonlySet<string>>>;
}

/** DEPLOYING while a deployment is in progress, whatever the last comparison reported. */
export function displayedSyncStatus(application: Application): ApplicationSyncStatus {
  if (application.deploying) return ApplicationSyncStatus.DEPLOYING;
  return application.syncState?.status ?? ApplicationSyncStatus.UNKNOWN;
}

export function ApplicationTable({ applications, waiting, pipedName, selected, onSelect }: ApplicationTableProps) {
  const chosen = applications.filter(({ id }) => selected.has(id)).length;
  const toggle = useCallback(
    (id: string) =>
      onSelect((ids) => {
        const next = new Set(ids);
        if (!next.delete(id)) next.add(id);
        return next;
      }),
    [onSelect],
  );
  return (
    <table className={classes.applications} role="table" aria-label="Applications">
      <thead role="rowgroup">
        <tr role="row">
          <th role="columnheader">
            <RowCheckbox
              label="Select all on this page"
              checked={chosen > 0 && chosen === applications.length}
              indeterminate={chosen > 0 && chosen < applications.length}
              toggle={() => onSelect(chosen > 0 ? new Set() : new Set(applications.map(({ id }) => id)))}
            />
          </th>
          <th role="columnheader">Status</th>
          <th role="columnheader">Application</th>
          <th role="columnheader" className="mantine-visible-from-md">Kind</th>
          <th role="columnheader" className="mantine-visible-from-sm">Running commit</th>
          <th role="columnheader" className="mantine-visible-from-lg">Piped</th>
          <th role="columnheader">Last deployment</th>
        </tr>
      </thead>
      <tbody role="rowgroup">
        {applications.map((application) => (
          <Row
            key={application.id}
            application={application}
            waiting={waiting.has(application.id)}
            piped={pipedName(application.pipedId)}
            selected={selected.has(application.id)}
            toggle={toggle}
          />
        ))}
      </tbody>
    </table>
  );
}

interface RowProps {
  application: Application;
  waiting: boolean;
  piped: string;
  selected: boolean;
  toggle: (id: string) => void;
}

/** Rendered only if its application changed, as few do of a list that is read again; and with plain elements, which cost half. */
const Row = memo(function Row({ application, waiting, piped, selected, toggle }: RowProps) {
  const running = application.mostRecentlySuccessfulDeployment;
  return (
    <tr
      role="row"
      data-disabled={application.disabled || undefined}
      data-selected={selected || undefined}
      data-lines={1 + Number(application.description !== "") + Number(Object.keys(application.labels).length > 0)}
    >
      <td role="cell">
        <RowCheckbox label={`Select ${application.name}`} checked={selected} toggle={() => toggle(application.id)} />
      </td>
      <td role="cell">
        <StatusBadge status={waiting ? WAITING_FOR_APPROVAL : syncStatusDisplay(displayedSyncStatus(application))} />
      </td>
      <td role="cell">
        <RowLink to={`/applications/${application.id}`} className={classes.name}>
          {application.name}
        </RowLink>
        {application.disabled && (
          <span className={classes.note}> disabled</span>
        )}
        {application.pin && <PinnedMark application={application} />}
        {application.description && (
          <div className={classes.description}>{application.description}</div>
        )}
        <Labels labels={application.labels} />
      </td>
      <td role="cell" className="mantine-visible-from-md">{kindName(kindOf(application))}</td>
      <td role="cell" className={`mantine-visible-from-sm ${classes.commit}`}>
        {running ? <CommitLine commit={running.trigger?.commit} /> : <span className="faint">Never deployed</span>}
      </td>
      <td role="cell" className="mantine-visible-from-lg">{piped}</td>
      <td role="cell" className={classes.time}>
        <LastDeployment application={application} waiting={waiting} />
      </td>
    </tr>
  );
});

const DID_NOT_SUCCEED: StatusDisplay = { text: "Did not succeed", tone: "bad" };

/** The state of the application's last deployment, and when it began. */
function LastDeployment({ application, waiting }: Pick<RowProps, "application" | "waiting">) {
  const last = application.mostRecentlyTriggeredDeployment ?? application.mostRecentlySuccessfulDeployment;
  if (!last) return <span className="faint">–</span>;
  return (
    <RowLink to={`/deployments/${last.deploymentId}`} className={classes.last}>
      <StatusIcon status={lastDeploymentDisplay(application, waiting)} size={15} />
      <RelativeTime at={last.completedAt || last.startedAt} />
    </RowLink>
  );
}

function lastDeploymentDisplay(application: Application, waiting: boolean): StatusDisplay {
  if (waiting) return WAITING_FOR_APPROVAL;
  if (application.deploying) return deploymentStatusDisplay(DeploymentStatus.DEPLOYMENT_RUNNING);
  if (lastDeploymentFailed(application)) return DID_NOT_SUCCEED;
  return deploymentStatusDisplay(DeploymentStatus.DEPLOYMENT_SUCCESS);
}
