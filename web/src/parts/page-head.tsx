// The head of a page: its title (also the tab's), where it belongs, and what can be done there.

import { Anchor, Group, Text, Title } from "@mantine/core";
import { type ReactNode, useEffect } from "react";
import { Link } from "react-router";

interface PageHeadProps {
  title: string;
  /** What the browser's tab says, when it differs. */
  tab?: string;
  from?: { text: string; to: string };
  beside?: ReactNode;
  note?: ReactNode;
  actions?: ReactNode;
}

export function PageHead({ title, tab = title, from, beside, note, actions }: PageHeadProps) {
  useEffect(() => {
    document.title = `${tab} · PipeCD`;
  }, [tab]);
  return (
    <header>
      {from && (
        <Anchor component={Link} to={from.to} size="sm">
          ← {from.text}
        </Anchor>
      )}
      <Group justify="space-between" align="center" gap="sm" mt={from ? 4 : 0}>
        <Group gap="sm" miw={0}>
          <Title order={1} size="h2" style={{ overflowWrap: "anywhere" }}>
            {title}
          </Title>
          {beside}
        </Group>
        {actions && <Group gap="xs">{actions}</Group>}
      </Group>
      {note && (
        <Text className="faint" size="sm" mt={4} component="div">
          {note}
        </Text>
      )}
    </header>
  );
}
