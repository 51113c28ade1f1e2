// Buttons that say why they cannot be used now. Unlike a disabled button they can have the focus, so that the reason is
// also shown and read to users of a keyboard and a screen reader.

import { ActionIcon, Button, type ButtonProps, Tooltip } from "@mantine/core";
import type { MouseEventHandler, ReactElement, ReactNode, Ref } from "react";

interface Blockable {
  /** Why it cannot be used now, as a sentence; empty if it can. */
  blocked?: string;
  onClick?: MouseEventHandler<HTMLButtonElement>;
}

interface ActionButtonProps extends Omit<ButtonProps, "disabled">, Blockable {
  /** Tooltip while it can be used. */
  title?: string;
  "aria-label"?: string;
  ref?: Ref<HTMLButtonElement>;
  children: ReactNode;
}

export function ActionButton({ blocked = "", onClick, title, ...button }: ActionButtonProps) {
  return (
    <Reason text={blocked}>
      <Button {...button} title={blocked ? undefined : title} {...blockedProps(blocked, onClick)} />
    </Reason>
  );
}

interface IconActionProps extends Blockable {
  label: string;
  children: ReactNode;
}

/** An icon, for lists. */
export function IconAction({ blocked = "", onClick, label, children }: IconActionProps) {
  return (
    <Reason text={blocked}>
      <ActionIcon
        variant="subtle"
        color="gray"
        aria-label={label}
        title={blocked ? undefined : label}
        {...blockedProps(blocked, onClick)}
      >
        {children}
      </ActionIcon>
    </Reason>
  );
}

function Reason({ text, children }: { text: string; children: ReactElement }) {
  return (
    <Tooltip label={text} disabled={!text} multiline maw={320} events={{ hover: true, focus: true, touch: true }}>
      {children}
    </Tooltip>
  );
}

function blockedProps(blocked: string, onClick: Blockable["onClick"]) {
  if (!blocked) return { onClick };
  const stop: MouseEventHandler<HTMLButtonElement> = (event) => event.preventDefault();
  return { "data-disabled": true, "aria-disabled": true, "aria-description": blocked, onClick: stop };
}
