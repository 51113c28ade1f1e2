// Shown if a page fails, most often because its code could not be loaded: the control plane did not answer, or a newer
// console was installed in the meantime.

import { Button, Center, Stack, Text, Title } from "@mantine/core";
import { useEffect, useRef } from "react";
import { useRouteError } from "react-router";

import { PageHeader } from "../components/page-header";
import { useConnection } from "../live";

/** Instead of the whole console. */
export function ErrorPage() {
  return (
    <Center mih="100vh" p="md" component="main">
      <Stack align="center" maw={520} ta="center">
        <Title order={1} size="h3">
          This page could not be displayed
        </Title>
        <Remedy />
      </Stack>
    </Center>
  );
}

/** Instead of a page, inside the layout. Loads the page again when the connection is back. */
export function PageError() {
  const connection = useConnection();
  const wasLost = useRef(false);
  useEffect(() => {
    if (connection !== "live") wasLost.current = true;
    else if (wasLost.current) window.location.reload();
  }, [connection]);
  return (
    <Stack maw={620}>
      <PageHeader title="This page could not be loaded" />
      <Remedy />
    </Stack>
  );
}

function Remedy() {
  const error = useRouteError();
  return (
    <>
      <Text className="faint">
        The control plane may be unreachable, or have been updated while the console was open. Reload the page to fix this.
      </Text>
      <div>
        <Button onClick={() => window.location.reload()}>Reload</Button>
      </div>
      <Text size="xs" className="faint mono">
        {error instanceof Error ? error.message : String(error)}
      </Text>
    </>
  );
}
