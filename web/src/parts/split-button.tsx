// A button with a first choice, and a menu of the others beside it.

import { Button, type ButtonProps, Menu, Text } from "@mantine/core";
import { IconChevronDown } from "@tabler/icons-react";

interface Choice {
  text: string;
  /** What the choice means. */
  hint: string;
  act: () => unknown;
}

interface SplitButtonProps extends Pick<ButtonProps, "leftSection" | "variant" | "color" | "disabled" | "loading"> {
  first: Choice;
  others: Choice[];
  /** What the menu holds, for those who hear it. */
  menu: string;
}

export function SplitButton({ first, others, menu, ...look }: SplitButtonProps) {
  return (
    <Button.Group>
      <Button {...look} onClick={first.act}>
        {first.text}
      </Button>
      <Menu position="bottom-end" width={300}>
        <Menu.Target>
          <Button {...look} leftSection={undefined} loading={false} px={8} aria-label={menu} bd="l">
            <IconChevronDown size={16} aria-hidden />
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          {[first, ...others].map((choice) => (
            <Menu.Item key={choice.text} onClick={choice.act}>
              <Text size="sm" fw={600}>
                {choice.text}
              </Text>
              <Text size="xs" className="faint">
                {choice.hint}
              </Text>
            </Menu.Item>
          ))}
        </Menu.Dropdown>
      </Menu>
    </Button.Group>
  );
}
