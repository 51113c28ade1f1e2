// Shows in the header whether the page receives changes in real time or polls for them.

import { Tooltip } from "@mantine/core";

import { useConnection } from "../live";
import classes from "./connection-indicator.module.css";

const TEXTS = {
  connecting: { label: "Connecting", hint: "Connecting to the change feed." },
  live: { label: "Live", hint: "Changes appear as they happen." },
  polling: { label: "Reconnecting", hint: "The change feed is disconnected. This page refreshes every 5 seconds." },
};

export function ConnectionIndicator() {
  const connection = useConnection();
  const { label, hint } = TEXTS[connection];
  return (
    <Tooltip label={hint}>
      <span className={classes.indicator} data-connection={connection} role="status">
        <span className={classes.dot} aria-hidden />
        {label}
      </span>
    </Tooltip>
  );
}
