// How Git and the platform compare for an application, and why it is so.

import { Alert, Group, Spoiler, Stack, Text } from "@mantine/core";
import { IconPlayerPause } from "@tabler/icons-react";

import type { Application } from "../schema/model/application_pb";
import { ApplicationSyncStatus as Status } from "../schema/model/application_pb";
import { syncWord } from "../words";
import { shownStatus } from "./application-table";
import { Complaints } from "./complaints";
import { Difference } from "./difference";
import { StatusBadge } from "./status";
import { Ago } from "./time";

const MEANING: Record<Status, string> = {
  [Status.UNKNOWN]: "The piped has not compared this application with Git yet.",
  [Status.SYNCED]: "What runs is what Git describes.",
  [Status.DEPLOYING]: "A deployment is under way.",
  [Status.OUT_OF_SYNC]: "What runs differs from what Git describes.",
  [Status.INVALID_CONFIG]: "The configuration in Git cannot be read.",
};

export function SyncState({ application }: { application: Application }) {
  const state = application.syncState;
  const status = shownStatus(application);
  const broken = state?.status === Status.INVALID_CONFIG;
  return (
    <Stack gap="sm" aria-live="polite">
      {application.disabled && (
        <Alert variant="light" color="gray" icon={<IconPlayerPause aria-hidden />} title="This application is disabled">
          Commits are not deployed and nothing is compared. Enable it to go on.
        </Alert>
      )}
      <Group gap="sm">
        <StatusBadge word={syncWord(status)} />
        <Text size="sm">{state?.shortReason && !broken ? state.shortReason : MEANING[status]}</Text>
        {state && state.timestamp > 0n && (
          <Text size="xs" className="faint">
            since <Ago at={state.timestamp} />
          </Text>
        )}
      </Group>
      {broken && <Complaints reason={state.reason || state.shortReason} />}
      {!broken && state?.reason && state.reason !== state.shortReason && (
        <Spoiler maxHeight={212} fz="sm" showLabel="Show everything" hideLabel="Show less">
          <Difference text={state.reason} />
        </Spoiler>
      )}
    </Stack>
  );
}
