// The receivers of a piped's notifications: their last results, and a test message to each.

import { Code, Modal, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

import { consoleClient } from "../../api";
import { ErrorAlert } from "../../components/error-alert";
import { receiversQuery } from "../../queries";
import type { Piped } from "../../schema/model/piped_pb";
import { ConsoleService } from "../../schema/pipecd/v1/console_pb";
import { useMay } from "../../use-may";
import { ReceiverItem } from "./receiver-item";
import classes from "./receivers.module.css";

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
  const may = useMay();
  if (receivers.isError && !receivers.data) {
    return <ErrorAlert title="The receivers could not be loaded" error={receivers.error} retry={receivers.refetch} />;
  }
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
    <ul role="list" className={classes.list} aria-label="Receivers">
      {receivers.data.map((receiver) => (
        <ReceiverItem
          key={receiver.name}
          receiver={receiver}
          test={() => consoleClient.testReceiver({ pipedId, receiver: receiver.name })}
          query={receiversQuery(pipedId)}
          readOnly={!may(ConsoleService.method.testReceiver)}
        />
      ))}
    </ul>
  );
}
