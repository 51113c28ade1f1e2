// The number of applications per sync status. Selecting a number filters the list.

import { UnstyledButton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useSearchParams } from "react-router";

import { awaitsApproval } from "../attention";
import { syncStatusDisplay, WAITING_FOR_APPROVAL } from "../display-names";
import { applicationFilter, slug, withParam } from "../filters";
import { applicationsQuery, runningDeploymentsQuery } from "../queries";
import { ApplicationSyncStatus as Status } from "../schema/model/application_pb";
import classes from "./status-summary.module.css";

const STATUSES: readonly Status[] = [
  Status.SYNCED,
  Status.DEPLOYING,
  Status.OUT_OF_SYNC,
  Status.INVALID_CONFIG,
  Status.UNKNOWN,
];

export function StatusSummary() {
  const [params, setParams] = useSearchParams();
  const filter = applicationFilter(params);
  // The list's own query.
  const counts = useQuery(applicationsQuery(filter, params.get("after") ?? "")).data?.statusCounts;
  const total = counts && Object.values(counts).reduce((sum, count) => sum + Number(count), 0);
  const waiting = useQuery(runningDeploymentsQuery).data?.filter(awaitsApproval).length ?? 0;
  const setStatuses = (values: string[]) => setParams(withParam(params, "status", values), { replace: true });
  return (
    <div className={classes.row} role="group" aria-label="Applications by sync status">
      <UnstyledButton
        className={classes.card}
        aria-pressed={filter.syncStatuses.length === 0}
        onClick={() => setStatuses([])}
      >
        <span className={classes.count}>{total ?? "–"}</span>
        <span className={classes.label}>All</span>
      </UnstyledButton>
      {STATUSES.map((status) => {
        const count = counts && Number(counts[status] ?? 0);
        const display = syncStatusDisplay(status);
        const pressed = filter.syncStatuses.includes(status);
        return (
          <UnstyledButton
            key={status}
            className={classes.card}
            data-tone={display.tone}
            data-empty={count === 0 || undefined}
            aria-pressed={pressed}
            onClick={() => setStatuses(pressed ? [] : [slug(Status, status)])}
          >
            <span className={classes.count}>{count ?? "–"}</span>
            <span className={classes.label}>{display.text}</span>
          </UnstyledButton>
        );
      })}
      {waiting > 0 && (
        <UnstyledButton component={Link} to="/deployments?status=waiting-for-approval" className={classes.card} data-tone={WAITING_FOR_APPROVAL.tone}>
          <span className={classes.count}>{waiting}</span>
          <span className={classes.label}>{WAITING_FOR_APPROVAL.text}</span>
        </UnstyledButton>
      )}
    </div>
  );
}
