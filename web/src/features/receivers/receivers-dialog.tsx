// The receivers of a piped's notifications: their last results, and a test message to each.

import { Alert, Button, Code, Group, Modal, Stack, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";

import { consoleClient, errorMessage } from "../../api";
import { ErrorAlert } from "../../components/error-alert";
import { StatusBadge } from "../../components/status";
import { RelativeTime } from "../../components/time";
import type { StatusDisplay } from "../../display-names";
import { receiversQuery } from "../../queries";
import type { Piped } from "../../schema/model/piped_pb";
import type { ReceiverStatus } from "../../schema/pipecd/v1/notifications_pb";
import classes from "./receivers.module.css";

const TYPES: Record<string, string> = { slack: "Slack", webhook: "Webhook", email: "E-mail", apprise: "Apprise" };

interface ReceiversDialogProps {
  piped: Piped;
  opened: boolean;
  close: () => void;
}

export function ReceiversDialog({ piped, opened, close }: ReceiversDialogProps) {
  return (
    <Modal
      opened={opened}
      onClose={close}
      size="lg"
      title={`Notifications of ${piped.name}`}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      {opened && <Receivers pipedId={piped.id} />}
    </Modal>
  );
}

function Receivers({ pipedId }: { pipedId: string }) {
  const receivers = useQuery(receiversQuery(pipedId));
  if (receivers.isError) return <ErrorAlert title="The receivers could not be loaded" error={receivers.error} retry={receivers.refetch} />;
  if (receivers.isPending) return <Text className="faint">Loading…</Text>;
  if (receivers.data.length === 0) {
    return (
      <Text size="sm">
        The piped has no receivers, or its version does not report them. Configure receivers and routes under{" "}
        <Code>spec.notifications</Code> in its file.
      </Text>
    );
  }
  return (
    <ul className={classes.list} aria-label="Receivers">
      {receivers.data.map((receiver) => (
        <Receiver key={receiver.name} pipedId={pipedId} receiver={receiver} />
      ))}
    </ul>
  );
}

function Receiver({ pipedId, receiver }: { pipedId: string; receiver: ReceiverStatus }) {
  const client = useQueryClient();
  const test = useMutation({
    mutationFn: () => consoleClient.testReceiver({ pipedId, receiver: receiver.name }),
    onSettled: () => client.invalidateQueries({ queryKey: receiversQuery(pipedId).queryKey }),
  });
  const waiting = receiver.waiting;
  return (
    <li className={classes.receiver}>
      <Group justify="space-between" align="flex-start" gap="sm">
        <Stack gap={4} className={classes.text}>
          <Group gap="sm">
            <Text fw={600}>{receiver.name}</Text>
            <StatusBadge status={receiverDisplay(receiver)} />
          </Group>
          <Text size="sm" className="faint">
            {TYPES[receiver.type] ?? receiver.type}
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
        <Button
          variant="default"
          size="xs"
          loading={test.isPending}
          aria-label={`Send test message to ${receiver.name}`}
          onClick={() => test.mutate()}
        >
          Send test message
        </Button>
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
