// Shown if a page fails, most often because a newer console was installed in the meantime.

import { Button, Center, Stack, Text, Title } from "@mantine/core";
import { useRouteError } from "react-router";

export function ErrorPage() {
  const error = useRouteError();
  return (
    <Center mih="100vh" p="md" component="main">
      <Stack align="center" maw={520} ta="center">
        <Title order={1} size="h3">
          This page could not be displayed
        </Title>
        <Text className="faint">
          The control plane may have been updated while the console was open. Reload the page to fix this.
        </Text>
        <Button onClick={() => window.location.reload()}>Reload</Button>
        <Text size="xs" className="faint mono">
          {error instanceof Error ? error.message : String(error)}
        </Text>
      </Stack>
    </Center>
  );
}
