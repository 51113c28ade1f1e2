// Text that people carry elsewhere: an id, a key, commands. One button copies it and says so.

import { ActionIcon, CopyButton, Group, Tooltip, VisuallyHidden } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";

import classes from "./copy.module.css";

interface CopyProps {
  text: string;
  /** What is copied: "id", "key", … */
  what: string;
}

export function Copy({ text, what }: CopyProps) {
  return (
    <CopyButton value={text} timeout={2000}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? "Copied" : `Copy ${what}`}>
          <ActionIcon variant="subtle" color={copied ? "green" : "gray"} size="sm" aria-label={`Copy ${what}`} onClick={copy}>
            {copied ? <IconCheck size={15} aria-hidden /> : <IconCopy size={15} aria-hidden />}
            <VisuallyHidden aria-live="polite">{copied ? "Copied" : ""}</VisuallyHidden>
          </ActionIcon>
        </Tooltip>
      )}
    </CopyButton>
  );
}

export function CopyText({ text, what }: CopyProps) {
  return (
    <Group gap={4} wrap="nowrap" miw={0}>
      <span className="mono" style={{ overflowWrap: "anywhere" }}>
        {text}
      </span>
      <Copy text={text} what={what} />
    </Group>
  );
}

/** Several lines, kept as they are. */
export function CopyBlock({ text, what }: CopyProps) {
  return (
    <div className={classes.block}>
      {/* A region that scrolls must be reachable by keyboard. */}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <pre className={classes.text} tabIndex={0} aria-label={what} role="region">
        {text}
      </pre>
      <div className={classes.button}>
        <Copy text={text} what={what} />
      </div>
    </div>
  );
}
