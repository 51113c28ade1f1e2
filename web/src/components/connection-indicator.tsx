// Shows in the header whether the page receives changes in real time or polls for them, and above the page that what
// it shows is out of date.

import { Alert, Tooltip } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";

import { IconPlugOff } from "../icons";
import { lastReceivedAt, useConnection } from "../live";
import { formatTime } from "../time";
import classes from "./connection-indicator.module.css";

const TEXTS = {
  connecting: { label: "Connecting", hint: "Connecting to the change feed." },
  live: { label: "Live", hint: "Changes appear as they happen." },
  lost: { label: "Disconnected", hint: "The control plane does not answer. This page tries again every 5 seconds." },
  polling: { label: "Reconnecting", hint: "The change feed is disconnected. This page refreshes every 5 seconds." },
};

const TONES = { connecting: undefined, live: undefined, polling: "warning", lost: "bad" };

export function ConnectionIndicator() {
  const connection = useConnection();
  const { label, hint } = TEXTS[connection];
  return (
    <Tooltip label={hint}>
      <span className={classes.indicator} data-connection={connection} data-tone={TONES[connection]} role="status">
        <span className={classes.dot} aria-hidden />
        <span className={classes.label}>{label}</span>
      </span>
    </Tooltip>
  );
}

export function OutOfDateAlert() {
  const connection = useConnection();
  const client = useQueryClient();
  if (connection !== "lost") return null;
  const received = lastReceivedAt(client);
  return (
    <Alert
      color="orange"
      variant="light"
      mb="md"
      role="alert"
      icon={<IconPlugOff size={20} aria-hidden />}
      title="The control plane does not answer"
    >
      {received > 0 ? `This page shows the state of ${formatTime(received / 1000)}. ` : ""}
      It is updated as soon as the connection is back. Check that the control plane is running and your network works.
    </Alert>
  );
}
