// A button for the primary option, with a menu of all options beside it.

import { Button, type ButtonProps, Menu, Text } from "@mantine/core";
import { IconChevronDown } from "../icons";
import { ActionButton } from "./action-button";

interface Option {
  text: string;
  /** What the option does. */
  hint: string;
  onSelect: () => unknown;
}

interface SplitButtonProps extends Pick<ButtonProps, "leftSection" | "variant" | "color" | "loading"> {
  primary: Option;
  others: Option[];
  /** Accessible name of the menu button. */
  menuLabel: string;
  /** Why neither can be used now, as a sentence; empty if they can. */
  blocked?: string;
}

export function SplitButton({ primary, others, menuLabel, ...buttonProps }: SplitButtonProps) {
  return (
    <Button.Group>
      <ActionButton {...buttonProps} onClick={primary.onSelect}>
        {primary.text}
      </ActionButton>
      <Menu position="bottom-end" width={300}>
        <Menu.Target>
          <ActionButton {...buttonProps} leftSection={undefined} loading={false} px={8} aria-label={menuLabel} bd="l">
            <IconChevronDown size={16} aria-hidden />
          </ActionButton>
        </Menu.Target>
        <Menu.Dropdown>
          {[primary, ...others].map((option) => (
            <Menu.Item key={option.text} disabled={buttonProps.loading} onClick={option.onSelect}>
              <Text size="sm" fw={600}>
                {option.text}
              </Text>
              <Text size="xs" className="faint">
                {option.hint}
              </Text>
            </Menu.Item>
          ))}
        </Menu.Dropdown>
      </Menu>
    </Button.Group>
  );
}
