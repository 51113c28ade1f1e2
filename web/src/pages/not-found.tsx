// Shown at a path without a page.

import { Button } from "@mantine/core";
import { IconMapOff } from "../icons";
import { Link } from "react-router";

import { EmptyState } from "../components/empty-state";
import { PageHeader } from "../components/page-header";

export function NotFoundPage() {
  return (
    <>
      <PageHeader title="Page not found" />
      <EmptyState
        title="There is no page at this address"
        icon={<IconMapOff size={40} stroke={1.4} />}
        action={
          <Button component={Link} to="/applications" variant="default" mt="sm">
            View applications
          </Button>
        }
      >
        The link may be outdated or incomplete. Applications and deployments can be found by name in the lists.
      </EmptyState>
    </>
  );
}
