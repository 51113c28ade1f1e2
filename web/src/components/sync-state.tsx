// Why an application has its sync status, which is beside its name.

import { Alert, Group, Stack, Text } from "@mantine/core";
import { Link } from "react-router";

import { IconPlayerPause } from "../icons";
import { DriftView } from "../features/drift/drift-view";
import type { Application } from "../schema/model/application_pb";
import { ApplicationSyncStatus as Status } from "../schema/model/application_pb";
import type { Deployment } from "../schema/model/deployment_pb";
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

interface SyncStateProps {
  application: Application;
  /** Its deployment that waits for an approval. */
  waiting: Deployment | undefined;
}

export function SyncState({ application, waiting }: SyncStateProps) {
  const state = application.syncState;
  const status = displayedSyncStatus(application);
  const { sentence, details } = splitReason(state);
  const invalidConfig = state?.status === Status.INVALID_CONFIG;
  return (
    <Stack gap="sm" aria-live="polite">
      {application.disabled && (
        <Alert variant="light" color="gray" icon={<IconPlayerPause aria-hidden />} title="This application is disabled">
          Commits are not deployed, and the application is not compared with Git. Enable it to resume.
        </Alert>
      )}
      <Group gap="sm">
        <Text size="sm" style={{ overflowWrap: "anywhere" }}>
          {waiting ? <Waiting deployment={waiting} /> : (!invalidConfig && sentence) || DESCRIPTIONS[status]}
        </Text>
        {state && state.timestamp > 0n && (
          <Text size="xs" className="faint">
            reported <RelativeTime at={state.timestamp} />
          </Text>
        )}
      </Group>
      {invalidConfig && <ConfigErrors reason={state.reason || state.shortReason} />}
      {!invalidConfig && details && <DriftView text={details} />}
    </Stack>
  );
}

function Waiting({ deployment }: { deployment: Deployment }) {
  return (
    <>
      A deployment waits for approval.{" "}
      <Link to={`/deployments/${deployment.id}`} className="underlined">
        View it
      </Link>
    </>
  );
}

/**
 * The sentence about the state, and what is shown below it: a drift or a plan. A reason that begins with the short one, as
 * after a deployment, only adds why: it is the sentence, except after a success, of which there is nothing to say.
 */
function splitReason(state: Application["syncState"]): { sentence: string; details: string } {
  const { status, shortReason = "", reason = "" } = state ?? {};
  if (reason === shortReason) return { sentence: shortReason, details: "" };
  if (shortReason && !reason.includes("\n") && reason.startsWith(`${shortReason}: `)) {
    return { sentence: status === Status.SYNCED ? shortReason : reason, details: "" };
  }
  return { sentence: shortReason, details: reason };
}
