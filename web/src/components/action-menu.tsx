// A menu of actions on a record. An action with a confirmation asks in a dialog before it runs.

import { Menu } from "@mantine/core";
import type { Icon } from "../icons";
import type { ReactElement, ReactNode } from "react";

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
  disabled?: boolean;
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

export function ActionMenu({ target, actions }: ActionMenuProps) {
  const dialog = useDialog<string>();
  return (
    <>
      <Menu position="bottom-end">
        <Menu.Target>{target}</Menu.Target>
        <Menu.Dropdown>
          {actions
            .filter((action) => !action.hidden)
            .map(({ text, Icon, color, disabled, onSelect, confirmation }) => (
              <Menu.Item
                key={text}
                color={color}
                leftSection={<Icon size={16} aria-hidden />}
                disabled={disabled}
                onClick={() => {
                  onSelect?.();
                  if (confirmation) dialog.open(text);
                }}
              >
                {text}
              </Menu.Item>
            ))}
        </Menu.Dropdown>
      </Menu>
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
