// A part of a page with a heading of its own.

import { Group, Title } from "@mantine/core";
import { type ReactNode, useId } from "react";

interface SectionProps {
  title: string;
  beside?: ReactNode;
  children: ReactNode;
  /** Without space around what it holds, for tables. */
  flush?: boolean;
}

export function Section({ title, beside, children, flush = false }: SectionProps) {
  const id = useId();
  return (
    <section className="panel" aria-labelledby={id} style={{ minWidth: 0 }}>
      <Group justify="space-between" px="md" pt="sm" pb={flush ? "xs" : 0}>
        <Title order={2} size="h5" id={id}>
          {title}
        </Title>
        {beside}
      </Group>
      <div style={flush ? { overflow: "hidden" } : { padding: "0.75rem 1rem 1rem" }}>{children}</div>
    </section>
  );
}
