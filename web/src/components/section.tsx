// A section of a page with a heading.

import { Group, Title } from "@mantine/core";
import { type ReactNode, useId } from "react";

interface SectionProps {
  title: string;
  /** For links to the section. */
  id?: string;
  /** Shown at the end of the heading line. */
  aside?: ReactNode;
  children: ReactNode;
  /** Without padding around the content, for tables. */
  flush?: boolean;
}

export function Section({ title, id: anchor, aside, children, flush = false }: SectionProps) {
  const id = useId();
  return (
    <section id={anchor} className="panel" aria-labelledby={id} style={{ minWidth: 0 }}>
      <Group justify="space-between" px="md" pt="sm" pb={flush ? "xs" : 0}>
        <Title order={2} size="h5" id={id} miw={0} style={{ overflowWrap: "anywhere" }}>
          {title}
        </Title>
        {aside}
      </Group>
      <div style={flush ? { overflow: "hidden", borderRadius: "0 0 11px 11px" } : { padding: "0.75rem 1rem 1rem" }}>{children}</div>
    </section>
  );
}
