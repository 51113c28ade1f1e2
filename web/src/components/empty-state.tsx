// Shown instead of an empty list or page: the reason, and what to do next.

import { Stack, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";

interface EmptyStateProps {
  title: string;
  /** The reason, and what to do next. */
  children: ReactNode;
  icon?: ReactNode;
  action?: ReactNode;
}

export function EmptyState({ title, children, icon, action }: EmptyStateProps) {
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
