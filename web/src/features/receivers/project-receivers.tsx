// The receivers of the project: who is notified when a piped is offline, and when it is back.

import { Button, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { consoleClient } from "../../api";
import { useChange } from "../../changes";
import { ConfirmDialog, useDialog } from "../../components/confirm-dialog";
import { ErrorAlert } from "../../components/error-alert";
import { Section } from "../../components/section";
import { projectReceiversQuery } from "../../queries";
import type { ProjectReceiver, ReceiverStatus } from "../../schema/pipecd/v1/notifications_pb";
import { ReceiverItem } from "./receiver-item";
import classes from "./receivers.module.css";
import { ReceiverForm } from "./receiver-form";

/** `mayChange`: whether the user's roles allow to change and test them. */
export function ProjectReceivers({ mayChange }: { mayChange: boolean }) {
  const [adding, setAdding] = useState(false);
  const receivers = useQuery(projectReceiversQuery);
  const readOnly = !mayChange || (receivers.data?.readOnly ?? true);
  return (
    <Section
      title="Notifications"
      aside={
        !readOnly && (
          <Button variant="default" size="compact-sm" onClick={() => setAdding(true)}>
            Add receiver
          </Button>
        )
      }
    >
      <Text size="sm" mb="xs">
        The control plane notifies these receivers when a piped is offline for two minutes, and when it is back, of all pipeds
        or of those that the receiver names. Everything else is sent by the piped, to the receivers of its own file.
      </Text>
      {receivers.isError && !receivers.data && (
        <ErrorAlert title="The receivers could not be loaded" error={receivers.error} retry={receivers.refetch} />
      )}
      {receivers.data && receivers.data.receivers.length === 0 && (
        <Text size="sm" className="faint" mt="sm">
          The project has no receivers.
        </Text>
      )}
      {receivers.data && receivers.data.receivers.length > 0 && (
        <ul role="list" className={classes.list} aria-label="Receivers">
          {receivers.data.receivers.map((receiver) => (
            <Receiver
              key={receiver.name}
              receiver={receiver}
              mayTest={mayChange}
              settings={readOnly ? undefined : receivers.data.settings.find(({ name }) => name === receiver.name)}
            />
          ))}
        </ul>
      )}
      {adding && <ReceiverForm close={() => setAdding(false)} />}
    </Section>
  );
}

interface ReceiverProps {
  receiver: ReceiverStatus;
  mayTest: boolean;
  /** Undefined if it cannot be changed here. */
  settings?: ProjectReceiver;
}

function Receiver({ receiver, mayTest, settings }: ReceiverProps) {
  const dialog = useDialog<"edit" | "delete">();
  const { name } = receiver;
  const remove = useChange(() => consoleClient.deleteProjectReceiver({ name }), [projectReceiversQuery.queryKey]);
  return (
    <>
      <ReceiverItem
        receiver={receiver}
        test={() => consoleClient.testProjectReceiver({ name })}
        query={projectReceiversQuery}
        readOnly={!mayTest}
        actions={
          settings && (
            <>
              <Button variant="default" size="xs" aria-label={`Edit ${name}`} onClick={() => dialog.open("edit")}>
                Edit
              </Button>
              <Button
                variant="subtle"
                color="red"
                size="xs"
                aria-label={`Delete ${name}`}
                onClick={() => dialog.open("delete")}
              >
                Delete
              </Button>
            </>
          )
        }
      />
      {settings && dialog.isOpen("edit") && <ReceiverForm receiver={settings} close={dialog.close} />}
      <ConfirmDialog
        title={`Delete receiver ${name}?`}
        verb="Delete"
        dangerous
        run={() => remove.mutateAsync()}
        opened={dialog.isOpen("delete")}
        close={dialog.close}
      >
        It gets no further messages, not even those that wait.
      </ConfirmDialog>
    </>
  );
}
