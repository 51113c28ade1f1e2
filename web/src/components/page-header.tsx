// The header of a page: title (also of the browser tab), link to the parent page, and actions.

import { Anchor, Group, Text, Title } from "@mantine/core";
import { type ReactNode, useEffect } from "react";
import { Link } from "react-router";

import { setTitle } from "../title";

interface PageHeaderProps {
  title: string;
  /** Title of the browser tab, if it differs. */
  tabTitle?: string;
  parent?: { text: string; to: string };
  /** Shown beside the title, such as a status badge. */
  badge?: ReactNode;
  description?: ReactNode;
  actions?: ReactNode;
}

export function PageHeader({ title, tabTitle = title, parent, badge, description, actions }: PageHeaderProps) {
  useEffect(() => {
    setTitle(tabTitle);
  }, [tabTitle]);
  return (
    <header>
      {parent && (
        <Anchor component={Link} to={parent.to} size="sm">
          ← {parent.text}
        </Anchor>
      )}
      <Group justify="space-between" align="flex-start" gap="sm" mt={parent ? 4 : 0}>
        {/* On a narrow screen, actions are below the description. */}
        <div style={{ flex: `1 1 ${description ? "18rem" : "10rem"}`, minWidth: 0 }}>
          <Group gap="sm" mih={36}>
            <Title order={1} size="h2" style={{ overflowWrap: "anywhere" }}>
              {title}
            </Title>
            {badge}
          </Group>
          {description && (
            <Text className="faint" size="sm" mt={4} component="div">
              {description}
            </Text>
          )}
        </div>
        {actions && <Group gap="xs">{actions}</Group>}
      </Group>
    </header>
  );
}
