// Shown instead of a page that the user's roles do not include, when a link leads to it.

import { Code } from "@mantine/core";

import { IconLock } from "../icons";
import type { PageRight } from "../page-rights";
import { formatPolicy } from "../policies";
import { neededRight } from "../rights";
import { EmptyState } from "./empty-state";
import { PageHeader } from "./page-header";

export function ForbiddenPage({ page, projectId }: { page: PageRight; projectId: string }) {
  const policies = page.needs.map((method) => {
    const { resource, action } = neededRight(method);
    return formatPolicy({ resources: [{ type: resource, labels: {} }], actions: [action] });
  });
  return (
    <>
      <PageHeader title={page.title} />
      <EmptyState
        title="Your roles do not include this page"
        icon={<IconLock size={36} stroke={1.5} />}
        action={policies.map((policy) => (
          <Code key={policy}>{policy}</Code>
        ))}
      >
        Ask an administrator of the project {projectId} for a role with{" "}
        {policies.length > 1 ? "one of these policies:" : "this policy:"}
      </EmptyState>
    </>
  );
}
