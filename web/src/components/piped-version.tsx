// The version of a piped and, during an upgrade, the desired version.

import { Group, Text } from "@mantine/core";

import type { Piped } from "../schema/model/piped_pb";
import { upgradeStatus } from "../versions";
import { StatusIcon } from "./status";
import { useNow } from "./time";

export function PipedVersion({ piped }: { piped: Piped }) {
  return (
    <>
      {piped.version || "–"}
      <UpgradeProgress piped={piped} />
    </>
  );
}

function UpgradeProgress({ piped }: { piped: Piped }) {
  const now = useNow();
  switch (upgradeStatus(piped, now)) {
    case "none":
      return null;
    case "disabled":
      return (
        <Text size="xs" className="faint">
          Upgrades to {piped.desiredVersion} when enabled
        </Text>
      );
    case "upgrading":
      return (
        <Group gap={4} wrap="nowrap" role="status">
          <StatusIcon status={{ text: "In progress", tone: "busy" }} size={14} />
          <Text size="xs">Upgrading to {piped.desiredVersion}…</Text>
        </Group>
      );
    case "delayed":
      return (
        <Group gap={4} wrap="nowrap" align="flex-start" role="status">
          <StatusIcon status={{ text: "Delayed", tone: "warning" }} size={14} />
          <Text size="xs" maw={220}>
            The upgrade to {piped.desiredVersion} is delayed. Check that the piped runs under the launcher, and see the
            launcher’s log.
          </Text>
        </Group>
      );
  }
}
