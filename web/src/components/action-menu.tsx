// A menu of actions on a record. An action with a confirmation asks in a dialog before it runs.

import { Menu, Text } from "@mantine/core";
import type { Icon } from "../icons";
import { type ReactElement, type ReactNode, useId } from "react";

import { ConfirmDialog, useDialog } from "./confirm-dialog";

interface Confirmation {
  title: string;
  /** What the action does. */
  consequences: ReactNode;
  dangerous?: boolean;
  /** Text of the confirming button. */
  verb: string;
  run: () => Promise<unknown>;
}

export interface MenuAction {
  text: string;
  Icon: Icon;
  color?: string;
  /** Why it cannot be used now, as a sentence; empty if it can. */
  blocked?: string;
  /** Removes the item, but not an open dialog: an action may hide itself while its dialog closes. */
  hidden?: boolean;
  onSelect?: () => void;
  confirmation?: Confirmation;
}

interface ActionMenuProps {
  /** The element that opens the menu. */
  target: ReactElement;
  actions: readonly MenuAction[];
}

/** Without the button if all actions are hidden. */
export function ActionMenu({ target, actions }: ActionMenuProps) {
  const dialog = useDialog<string>();
  const shown = actions.filter((action) => !action.hidden);
  return (
    <>
      {shown.length > 0 && (
        <Menu position="bottom-end">
          <Menu.Target>{target}</Menu.Target>
          <Menu.Dropdown maw={320}>
            {shown.map((action) => (
              <Item
                key={action.text}
                action={action}
                onSelect={() => {
                  action.onSelect?.();
                  if (action.confirmation) dialog.open(action.text);
                }}
              />
            ))}
          </Menu.Dropdown>
        </Menu>
      )}
      {actions.map(
        ({ text, confirmation }) =>
          confirmation && (
            <ConfirmDialog
              key={text}
              title={confirmation.title}
              verb={confirmation.verb}
              dangerous={confirmation.dangerous}
              run={confirmation.run}
              opened={dialog.isOpen(text)}
              close={dialog.close}
            >
              {confirmation.consequences}
            </ConfirmDialog>
          ),
      )}
    </>
  );
}

/** An item that cannot be used can have the focus all the same: below its text is the reason. */
function Item({ action, onSelect }: { action: MenuAction; onSelect: () => void }) {
  const reason = useId();
  const { text, Icon, color, blocked } = action;
  return (
    <Menu.Item
      color={blocked ? undefined : color}
      leftSection={<Icon size={16} aria-hidden />}
      aria-label={text}
      aria-disabled={blocked ? true : undefined}
      aria-describedby={blocked ? reason : undefined}
      closeMenuOnClick={!blocked}
      onClick={blocked ? undefined : onSelect}
      style={blocked ? { cursor: "not-allowed" } : undefined}
    >
      <Text size="sm" inherit={!blocked} className={blocked ? "faint" : undefined}>
        {text}
      </Text>
      {blocked && (
        <Text size="xs" className="faint" id={reason}>
          {blocked}
        </Text>
      )}
    </Menu.Item>
  );
}
