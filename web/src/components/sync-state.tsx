// Why an application has its sync status, which is beside its name.

import { Alert, Group, Stack, Text } from "@mantine/core";
import { IconPlayerPause } from "../icons";

import { DriftView } from "../features/drift/drift-view";
import type { Application } from "../schema/model/application_pb";
import { ApplicationSyncStatus as Status } from "../schema/model/application_pb";
import { displayedSyncStatus } from "./application-table";
import { ConfigErrors } from "./config-errors";
import { RelativeTime } from "./time";

const DESCRIPTIONS: Record<Status, string> = {
  [Status.UNKNOWN]: "The piped has not compared this application with Git yet.",
  [Status.SYNCED]: "The running resources match Git.",
  [Status.DEPLOYING]: "A deployment is in progress.",
  [Status.OUT_OF_SYNC]: "The running resources differ from Git.",
  [Status.INVALID_CONFIG]: "The configuration in Git is invalid.",
};

export function SyncState({ application }: { application: Application }) {
  const state = application.syncState;
  const status = displayedSyncStatus(application);
  const invalidConfig = state?.status === Status.INVALID_CONFIG;
  return (
    <Stack gap="sm" aria-live="polite">
      {application.disabled && (
        <Alert variant="light" color="gray" icon={<IconPlayerPause aria-hidden />} title="This application is disabled">
          Commits are not deployed, and the application is not compared with Git. Enable it to resume.
        </Alert>
      )}
      <Group gap="sm">
        <Text size="sm">{state?.shortReason && !invalidConfig ? state.shortReason : DESCRIPTIONS[status]}</Text>
        {state && state.timestamp > 0n && (
          <Text size="xs" className="faint">
            reported <RelativeTime at={state.timestamp} />
          </Text>
        )}
      </Group>
      {invalidConfig && <ConfigErrors reason={state.reason || state.shortReason} />}
      {!invalidConfig && state?.reason && state.reason !== state.shortReason && (
        <DriftView text={state.reason} />
      )}
    </Stack>
  );
}
