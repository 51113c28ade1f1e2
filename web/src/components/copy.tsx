// Texts with a copy button: an ID, a key, commands.

import { ActionIcon, CopyButton, Group, Tooltip, VisuallyHidden } from "@mantine/core";
import { IconCheck, IconCopy } from "../icons";

import classes from "./copy.module.css";

interface CopyProps {
  text: string;
  /** Name of the text: "ID", "Key", … */
  label: string;
}

export function CopyIcon({ text, label }: CopyProps) {
  return (
    <CopyButton value={text} timeout={2000}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? "Copied" : `Copy ${label}`}>
          <ActionIcon
            variant="subtle"
            color={copied ? "green" : "gray"}
            size="sm"
            aria-label={`Copy ${label}`}
            onClick={copy}
          >
            {copied ? <IconCheck size={15} aria-hidden /> : <IconCopy size={15} aria-hidden />}
            <VisuallyHidden aria-live="polite">{copied ? "Copied" : ""}</VisuallyHidden>
          </ActionIcon>
        </Tooltip>
      )}
    </CopyButton>
  );
}

export function CopyText({ text, label }: CopyProps) {
  return (
    <Group gap={4} wrap="nowrap" miw={0}>
      <span className="mono" style={{ overflowWrap: "anywhere" }}>
        {text}
      </span>
      <CopyIcon text={text} label={label} />
    </Group>
  );
}

/** Preformatted text of several lines. */
export function CopyBlock({ text, label }: CopyProps) {
  return (
    <div className={classes.block}>
      {/* A scrollable region must be reachable by keyboard. */}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <pre className={classes.text} tabIndex={0} aria-label={label} role="region">
        {text}
      </pre>
      <div className={classes.button}>
        <CopyIcon text={text} label={label} />
      </div>
    </div>
  );
}
