// Says, without shouting, whether the page follows what happens or only looks every few seconds.

import { Tooltip } from "@mantine/core";

import { useConnection } from "../live";
import classes from "./live-mark.module.css";

const SAYS = {
  connecting: { word: "Connecting", hint: "Opening the stream of changes." },
  live: { word: "Live", hint: "Changes appear as they happen." },
  polling: { word: "Reconnecting", hint: "The stream of changes is down; this page looks anew every 5 seconds." },
};

export function LiveMark() {
  const connection = useConnection();
  const { word, hint } = SAYS[connection];
  return (
    <Tooltip label={hint}>
      <span className={classes.mark} data-connection={connection} role="status">
        <span className={classes.dot} aria-hidden />
        {word}
      </span>
    </Tooltip>
  );
}
