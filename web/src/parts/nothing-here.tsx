// Why a list or page is empty, and what to do about it.

import { Stack, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";

interface NothingHereProps {
  title: string;
  /** Says why, and what to do next. */
  children: ReactNode;
  icon?: ReactNode;
  action?: ReactNode;
}

export function NothingHere({ title, children, icon, action }: NothingHereProps) {
  return (
    <Stack align="center" gap="xs" py={48} px="md" ta="center">
      {icon && (
        <span className="faint" aria-hidden>
          {icon}
        </span>
      )}
      <Title order={2} size="h4">
        {title}
      </Title>
      <Text className="faint" maw={520} component="div">
        {children}
      </Text>
      {action}
    </Stack>
  );
}
