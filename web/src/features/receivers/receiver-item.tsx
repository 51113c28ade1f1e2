// One receiver of notifications: its last results, and a button that sends a test message.

import { Alert, Button, Group, Stack, Text } from "@mantine/core";
import type { QueryKey } from "@tanstack/react-query";
import type { ReactNode } from "react";

import { errorMessage } from "../../api";
import { useChange } from "../../changes";
import { StatusBadge } from "../../components/status";
import { RelativeTime } from "../../components/time";
import type { StatusDisplay } from "../../display-names";
import type { ReceiverStatus } from "../../schema/pipecd/v1/notifications_pb";
import classes from "./receivers.module.css";

const TYPES: Record<string, string> = { slack: "Slack", webhook: "Webhook", email: "E-mail", apprise: "Apprise" };
/** A receiver of a project that gets one of the two events. */
const EVENTS: Record<string, string> = { PIPED_OFFLINE: "offline only", PIPED_ONLINE: "online again only" };

interface ReceiverItemProps {
  receiver: ReceiverStatus;
  test: () => Promise<unknown>;
  /** What shows the results. */
  query: { queryKey: QueryKey };
  /** Further buttons. */
  actions?: ReactNode;
  /** Without the right to send test messages. */
  readOnly?: boolean;
}

export function ReceiverItem({ receiver, test: send, query, actions, readOnly = false }: ReceiverItemProps) {
  const test = useChange(send, [query.queryKey]);
  const waiting = receiver.waiting;
  return (
    <li className={classes.receiver}>
      <Group justify="space-between" align="flex-start" gap="sm">
        <Stack gap={4} className={classes.text}>
          <Group gap="sm">
            <Text size="sm" fw={600}>{receiver.name}</Text>
            <StatusBadge status={receiverDisplay(receiver)} />
          </Group>
          <Text size="sm" className="faint">
            {TYPES[receiver.type] ?? receiver.type}
            {receiver.destination && ` · ${receiver.destination}`}
            {receiver.events.length === 1 && ` · ${EVENTS[receiver.events.join()]}`}
            {receiver.pipedIds.length > 0 &&
              ` · ${receiver.pipedIds.length} ${receiver.pipedIds.length === 1 ? "piped" : "pipeds"}`}
            {receiver.succeededAt > 0n && (
              <>
                {" · last sent "}
                <RelativeTime at={receiver.succeededAt} />
              </>
            )}
            {waiting > 0 && ` · ${waiting} ${waiting === 1 ? "message waits" : "messages wait"}`}
          </Text>
          {receiver.failedAt > 0n && (
            <Text size="sm" className={classes.error}>
              Last failed <RelativeTime at={receiver.failedAt} />: {receiver.error}
            </Text>
          )}
        </Stack>
        <Group gap="xs">
          {!readOnly && (
            <Button
              variant="default"
              size="xs"
              loading={test.isPending}
              aria-label={`Send test message to ${receiver.name}`}
              onClick={() => test.mutate()}
            >
              Send test message
            </Button>
          )}
          {actions}
        </Group>
      </Group>
      <div role="status">
        {test.isSuccess && (
          <Alert color="green" mt="xs" p="xs">
            The receiver accepted a test message.
          </Alert>
        )}
        {test.isError && (
          <Alert color="red" mt="xs" p="xs">
            {errorMessage(test.error)}
          </Alert>
        )}
      </div>
    </li>
  );
}

/** By the last attempt. */
function receiverDisplay({ succeededAt, failedAt }: ReceiverStatus): StatusDisplay {
  if (succeededAt === 0n && failedAt === 0n) return { text: "Not used yet", tone: "quiet" };
  return failedAt > succeededAt ? { text: "Failing", tone: "bad" } : { text: "Working", tone: "good" };
}
