// How the applications are, as numbers; each number filters the list.

import { UnstyledButton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useSearchParams } from "react-router";

import { applicationFilter, slug, withParam } from "../filters";
import { glanceQuery } from "../queries";
import { ApplicationSyncStatus as Status } from "../schema/model/application_pb";
import { syncWord } from "../words";
import classes from "./glance.module.css";

const STATUSES: readonly Status[] = [
  Status.SYNCED,
  Status.DEPLOYING,
  Status.OUT_OF_SYNC,
  Status.INVALID_CONFIG,
  Status.UNKNOWN,
];

export function Glance() {
  const [params, setParams] = useSearchParams();
  const filter = applicationFilter(params);
  const glance = useQuery(glanceQuery(filter, STATUSES));
  const choose = (values: string[]) => setParams(withParam(params, "status", values), { replace: true });
  return (
    <div className={classes.row} role="group" aria-label="Applications by sync status">
      <UnstyledButton
        className={classes.card}
        aria-pressed={filter.syncStatuses.length === 0}
        onClick={() => choose([])}
      >
        <span className={classes.count}>{glance.data?.total ?? "–"}</span>
        <span className={classes.word}>All</span>
      </UnstyledButton>
      {STATUSES.map((status, index) => {
        const count = glance.data?.each[index];
        const word = syncWord(status);
        const pressed = filter.syncStatuses.includes(status);
        return (
          <UnstyledButton
            key={status}
            className={classes.card}
            data-tone={word.tone}
            data-none={count === 0 || undefined}
            aria-pressed={pressed}
            onClick={() => choose(pressed ? [] : [slug(Status, status)])}
          >
            <span className={classes.count}>{count ?? "–"}</span>
            <span className={classes.word}>{word.text}</span>
          </UnstyledButton>
        );
      })}
    </div>
  );
}
