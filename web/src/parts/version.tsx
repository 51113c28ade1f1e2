// Which version an agent runs, and which one it is on its way to.

import { Group, Text } from "@mantine/core";

import type { Piped } from "../schema/model/piped_pb";
import { progress } from "../versions";
import { StatusIcon } from "./status";
import { useNow } from "./time";

export function Version({ piped }: { piped: Piped }) {
  return (
    <>
      {piped.version || "–"}
      <Coming piped={piped} />
    </>
  );
}

function Coming({ piped }: { piped: Piped }) {
  const now = useNow();
  switch (progress(piped, now)) {
    case "there":
      return null;
    case "off":
      return (
        <Text size="xs" className="faint">
          {piped.desiredVersion} once it is enabled
        </Text>
      );
    case "under way":
      return (
        <Group gap={4} wrap="nowrap" role="status">
          <StatusIcon word={{ text: "Under way", tone: "busy" }} size={14} />
          <Text size="xs">upgrading to {piped.desiredVersion}…</Text>
        </Group>
      );
    case "stuck":
      return (
        <Group gap={4} wrap="nowrap" align="flex-start" role="status">
          <StatusIcon word={{ text: "Not done yet", tone: "warning" }} size={14} />
          <Text size="xs" maw={220}>
            upgrading to {piped.desiredVersion}… takes long. Was it started by the launcher? The launcher’s log tells
            why.
          </Text>
        </Group>
      );
  }
}
