// Shown at an address that leads nowhere.

import { Button } from "@mantine/core";
import { IconMapOff } from "@tabler/icons-react";
import { Link } from "react-router";

import { NothingHere } from "../parts/nothing-here";
import { PageHead } from "../parts/page-head";

export function NotFoundPage() {
  return (
    <>
      <PageHead title="Page not found" />
      <NothingHere
        title="Nothing lives at this address"
        icon={<IconMapOff size={40} stroke={1.4} />}
        action={
          <Button component={Link} to="/applications" variant="default" mt="sm">
            To the applications
          </Button>
        }
      >
        The link may be old, or a letter may be missing from it. Applications and deployments can be found by their
        name in the lists.
      </NothingHere>
    </>
  );
}
