// Beside the name of a pinned application in lists.

import { Text } from "@mantine/core";

import { useNow } from "../../components/time";
import { IconPin } from "../../icons";
import type { Application } from "../../schema/model/application_pb";
import { activePin } from "./pin";

export function PinnedMark({ application }: { application: Application }) {
  const pin = activePin(application, useNow());
  if (!pin) return null;
  return (
    <Text span size="xs" className="faint" title={`Pinned to ${pin.commitHash.slice(0, 7)}: newer commits are not deployed`}>
      {" "}
      <IconPin size={13} aria-hidden style={{ verticalAlign: "-2px" }} /> pinned
    </Text>
  );
}
